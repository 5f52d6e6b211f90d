"""Whatever range is asked for, its pieces make up exactly its hours."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from master.usage.pieces import pieces

HOUR, DAY = 3600, 86_400
moments = st.integers(0, 12 * 24 * 4).map(lambda quarter: quarter * 900)


@given(moments, moments, st.integers(0, 6), st.integers(0, 10))
def test_days_and_hours_make_up_the_range(start: int, end: int, first_day: int, days: int) -> None:
    """Hours are kept from `first_day` on, days up to its `days`-th."""
    if start >= end:
        return
    days_end = max(days, first_day) * DAY
    hours: Counter[int] = Counter()
    for piece in pieces(start, end, first_day * DAY, days_end):
        assert piece.step_s == HOUR or piece.end <= days_end
        for begin in range(-(-piece.start // piece.step_s) * piece.step_s, piece.end, piece.step_s):
            for hour in range(begin, begin + piece.step_s, HOUR):
                hours[hour] += piece.sign
    recent = {hour for hour in range(0, 20 * DAY, HOUR) if start <= hour < end and hour >= first_day * DAY}
    old = {day for day in range(0, first_day * DAY, DAY) if start <= day + DAY / 2 < end}
    old_hours = {hour for day in old for hour in range(day, day + DAY, HOUR)}
    assert +hours == Counter(recent | old_hours)
    assert not [hour for hour, times in hours.items() if times < 0]
