"""Usage over a real database, whose clock a test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gpumon.messages import GpuReading, Metrics, Process
from gpumon.settings import UsageSettings
from master.bus import EventBus
from master.events import ReadingsArrived
from master.store.engine import Store
from master.store.writer import Writer
from master.usage.names import NOBODY
from master.usage.query import USER, By, Figures, Filter, Prices, figures
from master.usage.store import UsageStore
from master.usage.usage import Usage
from tests.master.history_support import DAY_S, HOUR_S, MIDNIGHT, count

GIB = 2**30
CARD = "GPU-0"


class UsageRun:
    """A started usage; `now` is its clock."""

    def __init__(self, store: Store, now: float, settings: UsageSettings) -> None:
        self.store = store
        self.now = now
        self.labels: dict[str, dict[str, str]] = {}
        self.bus = EventBus()
        self.writer = Writer(store, retry_s=0.05)
        kept = UsageStore(store, self.writer)
        none: dict[str, str] = {}
        self.usage = Usage(kept, self.bus, lambda worker: self.labels.get(worker, none), settings, lambda: self.now)
        self._seq = 0

    def tell(self, *gpus: GpuReading, worker: str = "w1", **changes: Any) -> Metrics:
        """Have a sample arrive now: its `time` is now by the worker's clock, unless a test says otherwise."""
        self._seq += 1
        values: dict[str, Any] = {"time": self.now, "seq": self._seq, "interval_s": 5.0, "source": "simulated"}
        metrics = Metrics(gpus=list(gpus), **{**values, **changes})
        self.bus.publish(ReadingsArrived(worker, metrics, self.now))
        return metrics

    def run(self, seconds: float, *gpus: GpuReading, worker: str = "w1", step_s: float = 5.0) -> None:
        """Let time pass in which the worker tells of these cards each 5 s."""
        end = self.now + seconds
        while self.now < end:
            self.to(min(self.now + step_s, end))
            self.tell(*gpus, worker=worker)

    def to(self, now: float) -> None:
        """Move the clock, and let what happens with time happen."""
        self.now = now
        self.usage.tick(now)

    def settle(self) -> None:
        """Keep everything up to now, and wait until it is written."""
        self.usage.tick(self.now + 60.0)
        assert self.writer.flush()

    def ask(
        self,
        by: str = USER,
        label: str = "",
        *,
        start: float = 0.0,
        end: float | None = None,
        prices: Prices | None = None,
        **only: Any,
    ) -> dict[str | None, Figures]:
        """Return the figures of each group, from the start of the hour on in which the run began to now."""
        last = self.now if end is None else end
        groups = self.usage.ask(start, last + 1, By(by, label), Filter(**only))
        return {name: figures(group, prices or Prices()) for name, group in groups.items()}

    def seconds(self, name: str = "held_hours", **only: Any) -> dict[str | None, float]:
        """Return what users hold in seconds, and what nobody does."""
        found = self.ask(**only)
        return {
            user: round(3600 * (each.free_hours if user == NOBODY and name == "held_hours" else getattr(each, name)), 2)
            for user, each in found.items()
        }


def process(user: str | None, memory_gib: float | None = 10, sm: int | None = None, **changes: Any) -> Process:
    """A process of this user."""
    memory = None if memory_gib is None else int(memory_gib * GIB)
    return Process(pid=changes.pop("pid", 1), user=user, memory_bytes=memory, sm_percent=sm, **changes)


def card(*processes: Process, busy: int | None = 90, uuid: str = CARD, **changes: Any) -> GpuReading:
    """A card with these processes."""
    values: dict[str, Any] = {"name": "NVIDIA H200", "memory_total_bytes": 141 * GIB, "power_w": 360.0}
    return GpuReading(uuid=uuid, utilization_percent=busy, processes=list(processes), **{**values, **changes})


@contextlib.contextmanager
def running(store: Store, now: float = MIDNIGHT, settings: UsageSettings | None = None) -> Iterator[UsageRun]:
    """Run usage on this store."""
    run = UsageRun(store, now, settings or UsageSettings())
    run.writer.start()
    run.usage.start()
    try:
        yield run
    finally:
        run.usage.stop()
        run.writer.stop()


__all__ = ["CARD", "DAY_S", "GIB", "HOUR_S", "MIDNIGHT", "UsageRun", "card", "count", "process", "running"]
