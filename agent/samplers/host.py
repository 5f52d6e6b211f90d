"""The machine around the cards at this moment, through psutil."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from agent.samplers.rates import Rate
from gpumon.messages import HostReading

T = TypeVar("T")

DISK = "/"


class HostSampler:
    """Reads processor, memory, disk and network; what is a rate is None at the first look.

    `network_*` counts every interface but loopback; `disk_*` is the file system of `/`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._received = Rate()
        self._sent = Rate()
        self._cpu_seen = False

    def read(self) -> HostReading:
        """Return how the machine is now; None for what this machine does not tell."""
        memory = _or_none(psutil.virtual_memory)
        swap = _or_none(psutil.swap_memory)
        disk = _or_none(lambda: psutil.disk_usage(DISK))
        load = _or_none(psutil.getloadavg)
        now_s = self._clock()
        received, sent = _network_bytes()
        return HostReading(
            cpu_percent=self._cpu_percent(),
            load_1m=round(load[0], 2) if load else None,
            memory_used_bytes=memory.total - memory.available if memory else None,
            memory_total_bytes=memory.total if memory else None,
            swap_used_bytes=swap.used if swap else None,
            disk_used_bytes=disk.used if disk else None,
            disk_total_bytes=disk.total if disk else None,
            network_rx_bytes_per_s=self._received.per_second(received, now_s),
            network_tx_bytes_per_s=self._sent.per_second(sent, now_s),
            uptime_s=_uptime_s(),
        )

    def _cpu_percent(self) -> float | None:
        """Return the processors' mean load since the last look (psutil: the first answer means nothing)."""
        percent = psutil.cpu_percent(interval=None)
        seen, self._cpu_seen = self._cpu_seen, True
        return percent if seen else None


def _network_bytes() -> tuple[int | None, int | None]:
    counters = _or_none(lambda: psutil.net_io_counters(pernic=True))
    if not counters:
        return None, None
    outward = [counter for name, counter in counters.items() if name != "lo"]
    return sum(counter.bytes_recv for counter in outward), sum(counter.bytes_sent for counter in outward)


def _uptime_s() -> float | None:
    """Return the seconds since boot (proc(5), /proc/uptime), which no step of the clock changes."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return None


def _or_none(read: Callable[[], T]) -> T | None:
    """Return what psutil reads, None where a container hides it."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        return read()
    return None
