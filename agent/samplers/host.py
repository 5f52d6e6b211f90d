"""The machine around the GPUs: its load at this moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from agent.samplers.rates import Rate
from gpumon.messages import HostReading

T = TypeVar("T")

_LOOPBACK = "lo"


class HostSampler:
    """Reads the machine through psutil. Rates and CPU use are between two readings, so the first has none."""

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._interfaces = sysfs / "class/net"
        self._physical: dict[str, bool] = {}
        self._counted: frozenset[str] = frozenset()
        self._received = Rate()
        self._sent = Rate()
        self._has_cpu_before = False

    def read(self) -> HostReading:
        """Read the machine once; what the system does not tell is None."""
        memory = _or_none(psutil.virtual_memory)
        swap = _or_none(psutil.swap_memory)
        disk = _or_none(lambda: psutil.disk_usage("/"))
        cpu_percent = _or_none(psutil.cpu_percent)  # since the last call; the first call's answer means nothing
        has_cpu_before, self._has_cpu_before = self._has_cpu_before, True
        received, sent = _or_none(self._network_bytes) or (None, None)
        now_s = time.monotonic()
        return HostReading(
            cpu_percent=cpu_percent if has_cpu_before else None,
            load_1m=_or_none(lambda: round(os.getloadavg()[0], 2)),
            memory_used_bytes=None if memory is None else memory.total - memory.available,
            memory_total_bytes=None if memory is None else memory.total,
            swap_used_bytes=None if swap is None else swap.used,
            disk_used_bytes=None if disk is None else disk.used,
            disk_total_bytes=None if disk is None else disk.total,
            network_rx_bytes_per_s=self._received.per_second(received, now_s),
            network_tx_bytes_per_s=self._sent.per_second(sent, now_s),
            uptime_s=_or_none(lambda: round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)),
        )

    def _network_bytes(self) -> tuple[int, int]:
        """Return the bytes received and sent by the network cards.

        Bridges and the ends of containers' links carry the same bytes once more, so they count only where there is
        nothing else, as inside a container. Loopback never counts.
        """
        counters = {name: count for name, count in psutil.net_io_counters(pernic=True).items() if name != _LOOPBACK}
        if counters.keys() != self._physical.keys():
            self._physical = {name: (self._interfaces / name / "device").exists() for name in counters}
        counted = frozenset(name for name in counters if self._physical[name]) or frozenset(counters)
        if counted != self._counted:
            # What another network card has carried so far was not carried since the last look.
            self._counted, self._received, self._sent = counted, Rate(), Rate()
        return sum(counters[name].bytes_recv for name in counted), sum(counters[name].bytes_sent for name in counted)


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, psutil.Error):
        return None
