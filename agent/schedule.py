"""When to sample: fixed multiples of the interval on the monotonic clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator


class Schedule:
    """Ticks at start, start + interval, start + 2 intervals, ... without ever drifting.

    A tick that is missed, because the work took longer than an interval or the machine slept, is skipped: ticks never
    bunch up. `clock` gives seconds and never goes back (`time.monotonic`).
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval_s = interval_s
        self._clock = clock

    def ticks(self, stop: threading.Event) -> Iterator[int]:
        """Yield the number of each tick when it is due, from 0 (now) on, until `stop` is set, and then end at once."""
        start = self._clock()
        number = 0
        while not stop.is_set():
            yield number
            elapsed = (self._clock() - start) / self.interval_s
            number = max(number + 1, math.ceil(elapsed))
            while (wait_s := start + number * self.interval_s - self._clock()) > 0:
                if stop.wait(wait_s):
                    return
