"""What is said of the disk and the clock."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.machine import clock_against, look_at_machine


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def found(data: Path, what: str) -> Finding:
    return next(finding for finding in look_at_machine(data) if finding.what == what)


@pytest.mark.parametrize(
    ("free", "verdict"), [(500 * 2**30, Verdict.GOOD), (2**29, Verdict.WARNING), (2**20, Verdict.BAD)]
)
def test_a_disk_is_judged_by_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1000 * 2**30, 1000 * 2**30 - free, free))
    assert found(tmp_path / "not" / "yet", "disk").verdict is verdict


@pytest.mark.parametrize(
    ("changed", "verdict", "said"),
    [
        ({"f_favail": 0}, Verdict.BAD, "0 more files can be made"),
        ({"f_favail": 900}, Verdict.WARNING, "900 more files can be made"),
        ({"f_flag": os.ST_RDONLY}, Verdict.BAD, "mounted read-only"),
        ({"f_files": 0, "f_favail": 0}, Verdict.GOOD, "are free"),  # btrfs counts none
    ],
)
def test_a_disk_is_judged_by_its_inodes_and_by_how_it_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], verdict: Verdict, said: str
) -> None:
    usual = {"f_files": 1_000_000, "f_favail": 900_000, "f_flag": 0}
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(**{**usual, **changed}))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1000 * 2**30, 500 * 2**30, 500 * 2**30))
    disk = found(tmp_path, "disk")
    assert disk.verdict is verdict
    assert said in disk.found


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("echo yes", Verdict.GOOD), ("echo no", Verdict.WARNING), ("exit 1", Verdict.UNKNOWN)],
)
def test_a_clock_is_judged_by_what_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, verdict: Verdict
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert found(tmp_path, "clock").verdict is verdict


def test_a_machine_without_timedatectl_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(tmp_path, "clock").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "said"),
    [
        (1.2, Verdict.GOOD, "agree"),
        (61.4, Verdict.WARNING, "61 s ahead of the master's"),
        (-7200.0, Verdict.WARNING, "7200 s behind the master's"),
    ],
)
def test_a_clock_is_compared_with_the_masters(ahead_s: float, verdict: Verdict, said: str) -> None:
    compared = clock_against(ahead_s, "the master's")
    assert compared.verdict is verdict
    assert said in compared.found
