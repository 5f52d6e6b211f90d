"""What the built-in rules cost the master: 1,000 workers x 8 GPUs at 1 Hz, calm, and with every card hot at once."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from bench.report import Figure, Result
from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading, Info, Metrics, Process
from gpumon.settings import AlertSettings
from gpumon.topics import Topics
from master.alerts.clock import Clocks
from master.alerts.desk import AlertDesk
from master.bus import EventBus
from master.events import SampleArrived
from master.fleet import Fleet
from master.prepare import prepare
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer

WORKERS = 1000
GPUS = 8
CALM_S = 30
UNTIL_FIRING_S = 135
FIRING_S = 30
GIB = 1024**3
TARGET_PERCENT = 5.0


class _MeteredBus(EventBus):
    """Counts the CPU time of whoever takes samples, which here is the alert desk alone."""

    spent_s = 0.0

    def publish(self, event: object) -> None:
        """Hand the event out."""
        if isinstance(event, SampleArrived):
            began = time.thread_time()
            super().publish(event)
            self.spent_s += time.thread_time() - began


class _Fleet:
    """A fleet whose time the benchmark drives, a second a step."""

    def __init__(self, data: DataFolder) -> None:
        self.passed = 0.0
        self._bus = _MeteredBus()
        self._store = Store(data)
        self._writer = Writer(self._store)
        self._fleet = Fleet(FleetStore(self._store, self._writer), self._bus, self.now)
        self.desk = AlertDesk(
            self._store,
            self._writer,
            self._bus,
            self._fleet,
            Topics(),
            settings=AlertSettings(),
            is_listening=lambda: True,
            clocks=Clocks(self.now, lambda: self.passed),
        )
        self._dice = random.Random(1)

    def now(self) -> float:
        return 1_780_000_000.0 + self.passed

    def start(self) -> None:
        self._store.start()
        self._writer.start()
        self.desk.start()
        for number in range(WORKERS):
            info = Info(hostname=f"w{number}", agent_version="0", source="simulated", interval_s=1.0, gpus=[])
            self._fleet.take_info(f"w{number}", info, self.now(), retained=False)

    def stop(self) -> None:
        self.desk.stop()
        self._writer.stop()
        self._store.stop()

    def run(self, seconds: int, *, is_hot: bool) -> float:
        """Let so many seconds pass, and return how much of a core the desk took, in percent."""
        spent_s = 0.0
        for _ in range(seconds):
            self.passed += 1.0
            samples = [self._sample(number, is_hot=is_hot) for number in range(WORKERS)]
            before = self._bus.spent_s
            for number, metrics in enumerate(samples):
                self._fleet.take_sample(f"w{number}", metrics, b"", self.now(), retained=False)
            spent_s += self._bus.spent_s - before
            began = time.thread_time()
            self.desk.tick()
            spent_s += time.thread_time() - began
        return 100.0 * spent_s / seconds

    def _sample(self, number: int, *, is_hot: bool) -> Metrics:
        gpus = [self._gpu(number, index, is_hot=is_hot) for index in range(GPUS)]
        return Metrics(time=self.now(), seq=int(self.passed), interval_s=1.0, source="simulated", gpus=gpus)

    def _gpu(self, number: int, index: int, *, is_hot: bool) -> GpuReading:
        dice = self._dice
        return GpuReading(
            uuid=f"GPU-{number}-{index}",
            index=index,
            name="NVIDIA H200",
            temperature_c=dice.randrange(86, 95) if is_hot else dice.randrange(40, 80),
            utilization_percent=dice.randrange(0, 100),
            memory_used_bytes=GIB * dice.randrange(1, 140),
            memory_total_bytes=141 * GIB,
            power_w=dice.uniform(600.0, 690.0),
            power_limit_w=700.0,
            throttle_reasons=["sw_power_cap"],
            ecc_uncorrected=0,
            processes=[Process(pid=4242, user="research", memory_bytes=20 * GIB)],
        )


def alerts() -> Result:
    """Drive the alert desk's time, and meter what it takes."""
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name:
        data = DataFolder(Path(name))
        prepare(data)
        fleet = _Fleet(data)
        fleet.start()
        calm = fleet.run(CALM_S, is_hot=False)
        fleet.run(UNTIL_FIRING_S, is_hot=True)
        firing = fleet.run(FIRING_S, is_hot=True)
        count = len(fleet.desk.active())
        fleet.stop()
    return Result(
        name="alerts",
        title="Alerts",
        about=f"{WORKERS:,} workers x {GPUS} GPUs, a sample a second each, judged by the built-in rules. The benchmark "
        "drives the time; only what the alert desk does is counted.",
        command="python -m bench alerts",
        figures=[
            Figure("CPU while nothing is wrong", round(calm, 2), "% of a core", TARGET_PERCENT),
            Figure("CPU while every card fires and its value changes", round(firing, 2), "% of a core"),
            Figure("alerts firing then", float(count), ""),
        ],
    )
