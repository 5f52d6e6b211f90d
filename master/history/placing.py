"""When a sample belongs: by the worker's clock while that is right, by the master's where it is not.

A worker's own time is exact however long a sample was underway, so it counts while the two clocks agree within 5 s. A
sample that comes with an older time soon after such ones is late, not wrong, and keeps its time. Where no sample of
the last minute agreed, the worker's clock is off, and the moment at which the master received the sample counts.
"""

from __future__ import annotations

from collections import deque

from master.worker import CLOCK_TOLERANCE_S

TRUSTED_FOR_S = 60.0
_REPEATS_AMONG = 32


class SampleClock:
    """What is remembered of one worker's samples to place the next one."""

    __slots__ = ("_newest", "_recent", "_right_at")

    def __init__(self) -> None:
        self._newest = float("-inf")
        self._recent: deque[tuple[float, int]] = deque(maxlen=_REPEATS_AMONG)
        self._right_at = float("-inf")

    def place(self, time: float, seq: int, received: float) -> float | None:
        """Return when the sample belongs (seconds since 1970), None for one that has come before."""
        if time > self._newest:
            self._newest = time
        elif (time, seq) in self._recent:
            return None
        self._recent.append((time, seq))
        ahead_s = time - received
        if abs(ahead_s) <= CLOCK_TOLERANCE_S:
            self._right_at = received
            return time
        is_late = ahead_s < 0 and abs(received - self._right_at) <= TRUSTED_FOR_S
        return time if is_late else received
