"""What processes cost: CPU seconds from `/proc/<pid>/stat`, and memory as PSS from `/proc/<pid>/smaps_rollup`.

PSS (proportional set size) counts a page that n processes share as 1/n of a page: what a process really adds.
Fields as in proc(5): utime and stime are in clock ticks, and count the process's own threads; children are followed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME, _CUTIME, _CSTIME = 11, 12, 13, 14  # counted after the name, which may hold spaces
_PPID = 1


class Cost(msgspec.Struct, frozen=True):
    """What a process and its children cost between two readings; RSS counts shared pages in full."""

    name: str
    cpu_s: float
    wall_s: float
    pss_bytes: int
    rss_bytes: int

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100.0 * self.cpu_s / self.wall_s if self.wall_s else 0.0


class Meter:
    """Reads the same processes, by name, at the beginning and at the end of a run, and the machine as a whole."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._started: dict[str, float] = {}
        self._started_at = 0.0
        self._machine_started = 0.0
        self.others_cpu_percent = 0.0

    def start(self) -> None:
        """Take the first reading."""
        self._started = {name: cpu_s(pid) for name, pid in self._pids.items()}
        self._machine_started = _machine_cpu_s()
        self._started_at = time.monotonic()

    def stop(self) -> list[Cost]:
        """Take the second reading and return what lies between; memory is as it is now."""
        wall_s = time.monotonic() - self._started_at
        machine_s = _machine_cpu_s() - self._machine_started
        used = {name: cpu_s(pid) - self._started[name] for name, pid in self._pids.items()}
        self.others_cpu_percent = max(0.0, 100.0 * (machine_s - sum(used.values())) / wall_s)
        return [Cost(name, used[name], wall_s, *memory_bytes(pid)) for name, pid in self._pids.items()]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds (user and system) of a process, its living children and those it has waited for."""
    ticks = 0
    for each in _family(pid):
        fields = _stat(each)
        if fields is not None:
            ticks += sum(int(fields[number]) for number in (_UTIME, _STIME, _CUTIME, _CSTIME))
    return ticks / _TICKS_PER_S


def memory_bytes(pid: int) -> tuple[int, int]:
    """Return the proportional and the resident set size of a process and its living children."""
    sizes = {"Pss:": 0, "Rss:": 0}
    for each in _family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for name, value in (line.split()[:2] for line in lines[1:]):
            if name in sizes:
                sizes[name] += int(value) * 1024
    return sizes["Pss:"], sizes["Rss:"]


def children(pid: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields is not None and int(fields[_PPID]) == pid:
                found.append(int(folder.name))
    return sorted(found)


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    family = [pid]
    for each in family:
        family.extend(children(each))
    return family


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _machine_cpu_s() -> float:
    """Return how long all cores together have been busy since the start, waiting for I/O not counted."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S
