"""Counters that only rise, made into rates."""

from __future__ import annotations


class Rate:
    """What a counter gains per second between two looks at it."""

    def __init__(self) -> None:
        self._value: int | None = None
        self._at_s = 0.0

    def per_second(self, value: int | None, now_s: float) -> int | None:
        """Return the rate since the last look; None at the first, without a value, and after the counter was reset."""
        before, before_s = self._value, self._at_s
        self._value, self._at_s = value, now_s
        if value is None or before is None or value < before or now_s <= before_s:
            return None
        return int((value - before) / (now_s - before_s))
