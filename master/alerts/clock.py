"""Two clocks: one that goes on evenly, for durations, and the one on the wall, for what is kept and shown."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clocks:
    """The master's clocks. Durations are by `now`, so that a wall clock that is set does not shorten or extend them."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self.wall = wall
        self.now = steady

    def wall_of(self, moment: float) -> float:
        """Return the wall time (seconds since 1970) of a moment of the steady clock."""
        return self.wall() - (self.now() - moment)

    def moment_of(self, wall: float) -> float:
        """Return the moment of a wall time in the past; one in the future counts as now."""
        return self.now() - max(0.0, self.wall() - wall)
