"""A pretended fleet for the history: samples as ingest hands them on, in a time that the benchmark drives."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from bench.payloads import gpu_uuid
from gpumon.messages import GpuReading, HostReading, Metrics
from master.events import ReadingsArrived

# 2026-11-24 00:00 UTC
MIDNIGHT = 1_795_478_400.0
_WALK = 9_973  # prime, so that cards which start at different places do not march in step


def _walk(low: int, high: int, step: int, seed: int) -> list[int]:
    """Return a series that wanders between `low` and `high` by at most `step`, as a load does."""
    source = random.Random(seed)
    value, series = (low + high) // 2, []
    for _ in range(_WALK):
        value = min(max(value + source.randint(-step, step), low), high)
        series.append(value)
    return series


class PretendedFleet:
    """Workers whose readings all change with every sample; as on an H100, there is no fan."""

    def __init__(self, workers: int, gpus: int, interval_s: float) -> None:
        self.workers = workers
        self.gpus = gpus
        self.interval_s = interval_s
        self.made_s = 0.0
        self._utilization = _walk(0, 100, 9, 2)
        self._memory = _walk(20_000_000_000, 84_000_000_000, 900_000_000, 3)
        self._temperature = _walk(31, 88, 2, 1)
        self._power = [deciwatts / 10 for deciwatts in _walk(1200, 6990, 300, 4)]
        self._clock = _walk(1200, 1980, 60, 5)
        self._bandwidth = _walk(0, 80, 6, 6)

    def samples(self, now: float, seq: int) -> Sequence[ReadingsArrived]:
        """Return one sample of every worker, each taken and received at its own moment of the last interval."""
        began = time.thread_time()
        events = [self._sample(worker, now, seq) for worker in range(self.workers)]
        self.made_s += time.thread_time() - began
        return events

    def _sample(self, worker: int, now: float, seq: int) -> ReadingsArrived:
        taken = now + (worker * 0.37) % self.interval_s
        at = (seq + 31 * worker) % _WALK
        metrics = Metrics(
            time=taken,
            seq=seq,
            interval_s=self.interval_s,
            source="simulated",
            gpus=[self._card(worker, index, seq + 31 * worker + 211 * index) for index in range(self.gpus)],
            host=HostReading(
                cpu_percent=self._utilization[at] / 2,
                load_1m=self._bandwidth[at] / 4,
                memory_used_bytes=5 * self._memory[at],
                disk_used_bytes=1_100_000_000_000 + 4096 * seq,
                network_rx_bytes_per_s=self._memory[at] // 1000,
                network_tx_bytes_per_s=self._memory[-at] // 2000,
            ),
        )
        return ReadingsArrived(f"worker-{worker:04d}", metrics, taken + 0.01)

    def _card(self, worker: int, index: int, step: int) -> GpuReading:
        at = step % _WALK
        return GpuReading(
            uuid=gpu_uuid(worker, index),
            index=index,
            utilization_percent=self._utilization[at],
            memory_used_bytes=self._memory[at - 53],
            temperature_c=self._temperature[at - 106],
            power_w=self._power[at - 159],
            memory_temperature_c=self._temperature[at - 106] + 6,
            sm_clock_mhz=self._clock[at - 212],
            memory_utilization_percent=self._bandwidth[at - 265],
        )
