"""Who a GPU process belongs to and what it runs, read from /proc once per process."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ProcessSetting = Literal["full", "script", "none"]

MAX_COMMAND = 1024
"""The contract's bound for text; longer command lines are cut."""
MAX_NAME = 256

# Container runtimes name a cgroup after the container: docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>.scope,
# libpod-<id>.scope, /docker/<id>, /kubepods/burstable/pod<uid>/<id>; the id is a SHA-256 in hex in all of them.
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PYTHON = re.compile(r"^(python|pypy)[0-9.]*$")
_INTERPRETERS = re.compile(r"^(ba|da|z|k|fi)?sh$|^(node|nodejs|deno|perl|ruby|Rscript|julia|lua|php)[0-9.]*$")
_PYTHON_OPTIONS_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})


@dataclass(frozen=True, slots=True)
class ProcessDetails:
    """What /proc tells about a process; all None for one that has ended, or that may not be looked at."""

    user: str | None = None
    name: str | None = None
    command: str | None = None
    container: str | None = None


_UNKNOWN = ProcessDetails()


class ProcessTable:
    """Describes processes by pid. What does not change is read once; a pid used again by another is noticed.

    `setting` says how much of a command line is shown: all of it, program and script alone, or nothing.
    An agent in a container has to share the host's pid namespace (`--pid=host`), since NVML tells the host's pids.
    """

    def __init__(self, setting: ProcessSetting = "script", proc: Path = Path("/proc")) -> None:
        self._setting = setting
        self._proc = str(proc)
        self._known: dict[int, tuple[bytes, ProcessDetails]] = {}
        self._users: dict[int, str] = {}

    def describe(self, pid: int) -> ProcessDetails:
        """Return what is known of a process."""
        started = self._start_time(pid)
        if started is None:
            self._known.pop(pid, None)
            return _UNKNOWN
        known = self._known.get(pid)
        if known is not None and known[0] == started:
            return known[1]
        details = self._read(pid)
        self._known[pid] = (started, details)
        return details

    def forget_all_but(self, pids: Iterable[int]) -> None:
        """Drop what is known of processes that no longer use a GPU."""
        for pid in self._known.keys() - set(pids):
            del self._known[pid]

    def _start_time(self, pid: int) -> bytes | None:
        stat = self._bytes(pid, "stat")
        # proc(5): field 22, counted behind the name, which is in parentheses and may hold anything
        fields = stat[stat.rfind(b")") + 2 :].split(b" ", 20)
        return fields[19] if len(fields) > 19 else None

    def _read(self, pid: int) -> ProcessDetails:
        # A program that sets its title leaves one argument, padded with NULs.
        argv = [part.decode(errors="replace") for part in self._bytes(pid, "cmdline").rstrip(b"\0").split(b"\0")]
        argv = argv if argv[0] else []
        if len(argv) == 1 and " " in argv[0]:
            argv = argv[0].split()
        name = _program(argv) or self._bytes(pid, "comm").decode(errors="replace").strip() or None
        return ProcessDetails(
            user=self._user(pid),
            name=name[:MAX_NAME] if name else None,
            command=shown_command(argv, self._setting),
            container=container_id(self._bytes(pid, "cgroup").decode(errors="replace")),
        )

    def _user(self, pid: int) -> str | None:
        for line in self._bytes(pid, "status").splitlines():
            if line.startswith(b"Uid:"):
                return self._user_name(int(line.split()[2]))  # real, effective, ...
        return None

    def _user_name(self, uid: int) -> str:
        if uid not in self._users:
            name = str(uid)
            with contextlib.suppress(KeyError):
                name = pwd.getpwuid(uid).pw_name
            self._users[uid] = name[:MAX_NAME]
        return self._users[uid]

    def _bytes(self, pid: int, file: str) -> bytes:
        # os.open and not Path: this runs for every process at every sample
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 65536)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def shown_command(argv: list[str], setting: ProcessSetting) -> str | None:
    """Return as much of a command line as may be shown; arguments may hold secrets, so `script` shows none of them."""
    if not argv or setting == "none":
        return None
    if setting == "full":
        return " ".join(argv)[:MAX_COMMAND]
    program = _program(argv)
    if _PYTHON.match(program):
        script = _python_script(argv[1:])
    elif _INTERPRETERS.match(program):
        script = argv[1] if len(argv) > 1 and not argv[1].startswith("-") else ""
    elif program == "java" and "-jar" in argv[:-1]:
        script = "-jar " + argv[argv.index("-jar") + 1]
    else:
        script = ""
    return f"{program} {script}".strip()[:MAX_COMMAND]


def container_id(cgroup: str) -> str | None:
    """Return the short id (12 characters) of the innermost container in the text of /proc/<pid>/cgroup (v1 or v2)."""
    for line in cgroup.splitlines():
        ids = _CONTAINER_ID.findall(line)
        if ids:
            return str(ids[-1][:12])
    return None


def _program(argv: list[str]) -> str:
    return argv[0].rstrip("/").rpartition("/")[2].lstrip("-") if argv else ""


def _python_script(arguments: list[str]) -> str:
    """Return the script, `-m module` or a bare `-c` of Python's command line (see its `--help`)."""
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument in _PYTHON_OPTIONS_WITH_VALUE:
            position += 1
        elif not argument.startswith("-") or argument == "-":
            return argument
        elif not argument.startswith("--"):
            for place, letter in enumerate(argument[1:], start=2):
                if letter == "c":
                    return "-c"
                if letter == "m":
                    return "-m " + (argument[place:] or "".join(arguments[position : position + 1]))
                if letter in "WX":
                    break
    return ""
