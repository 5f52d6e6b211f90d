"""A history over a real database, whose clock a test moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gpumon.messages import GpuReading, HostReading, Metrics
from gpumon.settings import HistorySettings
from master.bus import EventBus
from master.events import ReadingsArrived
from master.history.history import FOLD_AFTER_S, History
from master.history.query import Answer, Question
from master.history.readings import HOST, readings_of
from master.store.engine import Store
from master.store.writer import Writer

# The start of an hour and of a day: 2026-11-24 00:00 UTC.
MIDNIGHT = 1_795_478_400.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
CARD = "GPU-0"


class HistoryRun:
    """A started history; `now` is its clock."""

    def __init__(self, store: Store, settings: HistorySettings, now: float) -> None:
        self.store = store
        self.now = now
        self.bus = EventBus()
        self.writer = Writer(store, retry_s=0.05)
        self.history = History(store, self.writer, self.bus, settings, clock=lambda: self.now)
        self._seq = 0

    def tell(self, *gpus: GpuReading, worker: str = "w1", **changes: Any) -> Metrics:
        """Have a sample arrive now: its `time` is now by the worker's clock, unless a test says otherwise."""
        self._seq += 1
        values: dict[str, Any] = {"time": self.now, "seq": self._seq, "interval_s": 5.0, "source": "simulated"}
        metrics = Metrics(gpus=list(gpus), **{**values, **changes})
        self.repeat(metrics, worker)
        return metrics

    def repeat(self, metrics: Metrics, worker: str = "w1") -> None:
        """Have this sample arrive now."""
        self.bus.publish(ReadingsArrived(worker, metrics, self.now))

    def to(self, now: float) -> None:
        """Move the clock, and let what happens with time happen."""
        self.now = now
        self.history.tick(now)

    def settle(self) -> None:
        """Wait until everything is written, and every hour that is over is folded."""
        assert self.writer.flush()
        before = (self.now - FOLD_AFTER_S) // HOUR_S * HOUR_S
        while count(self.store, f"history_minutes WHERE start < {before}"):
            self.history.tick(self.now)
            assert self.writer.flush()

    def ask(
        self,
        span_s: float,
        *names: str,
        key: str = CARD,
        worker: str = "w1",
        points: int = 500,
        end: float | None = None,
    ) -> Answer:
        """Ask for the last seconds before `end` (now)."""
        last = self.now if end is None else end
        readings = tuple(reading for reading in readings_of(key) if not names or reading.name in names)
        return self.history.ask(Question(worker, key, readings, last - span_s, last, points))

    def power(self, span_s: float, **more: Any) -> dict[float, tuple[float | None, ...]]:
        """Return the power's mean, min and max of every point that is no gap, by its time."""
        found = self.ask(span_s, "power_w", **more)
        series = found.series["power_w"]
        points = zip(found.time, series.mean, series.min, series.max, strict=True)
        return {at: (mean, low, high) for at, mean, low, high in points if mean is not None}


def card(power_w: float | None = 100.0, uuid: str = CARD, **changes: Any) -> GpuReading:
    """A card that draws so much power."""
    return GpuReading(uuid=uuid, power_w=power_w, **changes)


def host(**changes: Any) -> HostReading:
    """A host."""
    return HostReading(**changes)


@contextlib.contextmanager
def running(store: Store, now: float = MIDNIGHT, settings: HistorySettings | None = None) -> Iterator[HistoryRun]:
    """Run a history on this store."""
    run = HistoryRun(store, settings or HistorySettings(), now)
    run.writer.start()
    run.history.start()
    try:
        yield run
    finally:
        run.history.stop()
        run.writer.stop()


def count(store: Store, table: str) -> int:
    """Return the number of rows of a table."""
    with store.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0)


__all__ = ["CARD", "DAY_S", "HOST", "HOUR_S", "MIDNIGHT", "HistoryRun", "card", "count", "host", "running"]
