"""PCIe throughput of all GPUs, at the cost of one short wait for all together.

nvmlDeviceGetPcieThroughput watches a byte counter for 20 ms, for one direction of one GPU at a time (NVML reference):
320 ms for eight GPUs. The counters themselves can be had as field values since driver 550, but they are 32 bits wide
("value can be wrapped"), so that over an interval of seconds a busy link, at up to 63 GB/s with PCIe 5.0 x16, passes
their end many times. They are therefore read twice, 20 ms apart, for all GPUs at once: the same figure as NVML's and
nvidia-smi's, for one wait. Where a driver does not have them, NVML's function is asked about one GPU per sample in
turn, and the others keep their last figure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import pynvml

from agent.nvml import GpuLostError, NvmlDevice

WINDOW_S = 0.02
LONGEST_WINDOW_S = 0.06
"""In this time a counter of 32 bits passes its end at most once with PCIe 5.0 x16; a longer one gives no figure."""

_COUNTERS = (pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES)
_WRAP = 1 << 32

Throughput = tuple[int | None, int | None]
"""Received and sent by the GPU, in bytes per second."""
NO_THROUGHPUT: Throughput = (None, None)


class PcieMeter:
    """Measures the PCIe links of some GPUs, known by their uuids."""

    def __init__(self) -> None:
        self._without_counters: dict[str, Throughput] = {}

    def measure(self, devices: Mapping[str, NvmlDevice]) -> dict[str, Throughput]:
        """Return the throughput of every GPU. Takes about 20 ms, and 40 ms more where a GPU has no counters.

        Raises NvmlDeadError.
        """
        begun_s = time.monotonic()
        first = {uuid: _count(device) for uuid, device in devices.items()}
        counting = {uuid: devices[uuid] for uuid, count in first.items() if count is not None}
        if counting:
            time.sleep(max(0.0, begun_s + WINDOW_S - time.monotonic()))
        measured = {uuid: _throughput(first[uuid], _count(device)) for uuid, device in counting.items()}
        measured.update(self._in_turn({uuid: device for uuid, device in devices.items() if uuid not in counting}))
        return measured

    def _in_turn(self, devices: Mapping[str, NvmlDevice]) -> dict[str, Throughput]:
        known = {uuid: self._without_counters.get(uuid, NO_THROUGHPUT) for uuid in devices}
        # The one whose turn is longest ago comes first: those never asked, then in the order they were asked.
        turn = next((uuid for uuid in devices if uuid not in self._without_counters), None)
        turn = turn or next((uuid for uuid in self._without_counters if uuid in devices), None)
        self._without_counters = {uuid: kept for uuid, kept in self._without_counters.items() if uuid in devices}
        if turn is not None:
            self._without_counters.pop(turn, None)
            known[turn] = self._without_counters[turn] = _ask(devices[turn])
        return known


Count = tuple[float, int, int]
"""When, and the two counters then."""


def _count(device: NvmlDevice) -> Count | None:
    try:
        values = device.fields(_COUNTERS)
    except GpuLostError:
        return None
    received, sent = (values[field] for field in _COUNTERS)
    if received is None or sent is None:
        return None
    return time.monotonic(), received, sent


def _throughput(first: Count | None, second: Count | None) -> Throughput:
    if first is None or second is None:
        return NO_THROUGHPUT
    seconds = second[0] - first[0]
    if not 0 < seconds <= LONGEST_WINDOW_S:
        return NO_THROUGHPUT
    return int((second[1] - first[1]) % _WRAP / seconds), int((second[2] - first[2]) % _WRAP / seconds)


def _ask(device: NvmlDevice) -> Throughput:
    try:
        received = device.query(pynvml.nvmlDeviceGetPcieThroughput, pynvml.NVML_PCIE_UTIL_RX_BYTES)
        sent = device.query(pynvml.nvmlDeviceGetPcieThroughput, pynvml.NVML_PCIE_UTIL_TX_BYTES)
    except GpuLostError:
        return NO_THROUGHPUT
    # in KB/s, by the NVML reference
    return None if received is None else received * 1000, None if sent is None else sent * 1000
