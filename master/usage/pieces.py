"""Which rows answer for a range of time: days where they lie in it whole, hours at its edges.

Where hours are not kept any more there are days alone; one belongs to a range in which its noon (UTC) lies, so that it
is counted on the same date in nearly every time zone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from master.usage.book import HOUR_S
from master.usage.store import DAY_S


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of `step_s` that begin within [start, end)."""

    step_s: int
    start: int
    end: int


def pieces(start: float, end: float, first_hour: int | None, days_end: int) -> list[Piece]:
    """Return what together answers for [start, end): hours are kept from `first_hour` on, days up to `days_end`."""
    found = []
    hours_from = days_end if first_hour is None else first_hour // DAY_S * DAY_S
    if start < hours_from:
        old_end = min(end, hours_from)
        found.append(Piece(DAY_S, _day(start - DAY_S / 2), _day(old_end - DAY_S / 2)))
        start = old_end
    whole = (_day(start), min(math.floor(end / DAY_S) * DAY_S, days_end))
    if whole[0] < whole[1]:
        found += [Piece(HOUR_S, _hour(start), whole[0]), Piece(DAY_S, *whole), Piece(HOUR_S, whole[1], _hour(end))]
    else:
        found.append(Piece(HOUR_S, _hour(start), _hour(end)))
    return [piece for piece in found if piece.start < piece.end]


def _day(moment: float) -> int:
    return math.ceil(moment / DAY_S) * DAY_S


def _hour(moment: float) -> int:
    return math.ceil(moment / HOUR_S) * HOUR_S
