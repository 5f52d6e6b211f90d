"""The machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """What a reader needs to compare figures with those of another machine."""

    cpu: str
    cores: int
    memory_bytes: int
    python: str
    system: str


def this_machine() -> Machine:
    """Describe this machine."""
    return Machine(
        cpu=_first("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
    )


def _first(path: str, name: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
