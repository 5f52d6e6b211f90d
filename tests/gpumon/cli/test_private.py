"""What a process of gpumon keeps from others; each in a process of its own, since it is changed for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BEGINNING = "import os, sys; from gpumon.cli.private import keep_private; os.umask(0); keep_private(); "


def _says(program: str) -> list[str]:
    finished = subprocess.run([sys.executable, "-c", BEGINNING + program], capture_output=True, text=True, check=True)
    return finished.stdout.split()


def test_files_and_folders_are_the_users_alone_whatever_the_umask_was(tmp_path: Path) -> None:
    _says(f"open({str(tmp_path / 'file')!r}, 'w'); os.mkdir({str(tmp_path / 'folder')!r})")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_neither_it_nor_its_forks_can_be_dumped_or_traced_by_others_of_the_same_user() -> None:
    # PR_GET_DUMPABLE is 3. Not dumpable, its files under /proc are root's, and nobody without root may trace it.
    program = (
        "import ctypes; is_dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); "
        "print(is_dumpable(), flush=True); "
        "child = os.fork(); print(is_dumpable()) if child == 0 else os.waitpid(child, 0)"
    )
    assert _says(program) == ["0", "0"]


def test_what_it_starts_is_an_ordinary_process_again() -> None:
    program = "os.execv('/bin/sh', ['sh', '-c', 'stat -c %u /proc/self/environ; ulimit -c'])"
    owner, limit = _says(program)
    assert owner == str(os.geteuid())
    usual = subprocess.run(["/bin/sh", "-c", "ulimit -c"], capture_output=True, text=True, check=True).stdout.strip()
    assert limit == usual
