"""The schedule, with a clock that only moves when it is told to."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from agent.schedule import Schedule


class FakeTime(threading.Event):
    """A clock, and a stop event on which waiting makes the clock move on, each time a little late."""

    def __init__(self, late_s: float = 0.0) -> None:
        super().__init__()
        self.now = 100.0
        self.late_s = late_s

    def clock(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += (timeout or 0.0) + self.late_s
        return self.is_set()


def test_the_interval_does_not_drift_however_late_each_tick_is() -> None:
    fake = FakeTime(late_s=0.003)
    times = []
    for number in islice(Schedule(5.0, fake.clock).ticks(fake), 1000):
        times.append(fake.now)
        assert fake.now == pytest.approx(100.0 + number * 5.0, abs=0.004)
        fake.now += 0.9  # the work
    assert times[-1] == pytest.approx(100.0 + 999 * 5.0, abs=0.004)


def test_missed_ticks_are_skipped_instead_of_bunched() -> None:
    fake = FakeTime()
    numbers = []
    for number in Schedule(1.0, fake.clock).ticks(fake):
        numbers.append((number, fake.now - 100.0))
        if number == 2:
            fake.now += 7.5  # a sample that took very long
        if number > 11:
            break
    assert numbers == [(0, 0.0), (1, 1.0), (2, 2.0), (10, 10.0), (11, 11.0), (12, 12.0)]


def test_a_stop_ends_the_wait_at_once() -> None:
    stop = threading.Event()
    ticks = Schedule(3600.0).ticks(stop)
    assert next(ticks) == 0
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    assert list(ticks) == []
    assert time.monotonic() - began < 5


def test_the_first_tick_is_now_and_none_comes_after_a_stop() -> None:
    stop = threading.Event()
    stop.set()
    assert list(Schedule(1.0).ticks(stop)) == []
