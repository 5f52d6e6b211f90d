"""The machine around the cards, as far as it does not change: names, kernel, processor, memory."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What `info` says about a machine; None where it cannot be told."""

    hostname: str
    os: str | None = None
    kernel: str | None = None
    cpu: str | None = None
    cpu_count: int | None = None
    memory_total_bytes: int | None = None


def this_machine() -> Machine:
    """Describe the machine that this runs on."""
    return Machine(
        hostname=socket.gethostname(),
        os=_operating_system(),
        kernel=platform.release() or None,
        cpu=_processor(),
        cpu_count=os.cpu_count(),
        memory_total_bytes=_memory(),
    )


def _operating_system() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _processor() -> str | None:
    """Return the processor's name from /proc/cpuinfo (proc(5)); ARM has none there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
