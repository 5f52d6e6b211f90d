"""Which rows answer for a range of time: days, and hours at its edges, which are added or taken away.

A day in Berlin is a day in UTC and the hour before it, without its last: so it takes two hours' rows instead of all 24.

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
    """Rows of `step_s` that begin within [start, end); `sign` -1 where they are to be taken away."""

    step_s: int
    start: int
    end: int
    sign: int = 1


def pieces(start: float, end: float, first_hour: int | None, days_end: int) -> list[Piece]:
    """Return what together answers for [start, end): hours are kept from `first_hour` on, days up to `days_end`."""
    found = []
    hours_from = days_end if first_hour is None else first_hour // DAY_S * DAY_S
    if start < hours_from:
        old_end = min(end, hours_from)
        found.append(Piece(DAY_S, _day(start - DAY_S / 2), _day(old_end - DAY_S / 2)))
        start = old_end
    first, last = max(_nearest_day(start), hours_from), min(_nearest_day(end), days_end)
    if first < last:
        found += [_edge(_hour(start), first), Piece(DAY_S, first, last), _edge(last, _hour(end))]
    else:
        found.append(Piece(HOUR_S, _hour(start), _hour(end)))
    return [piece for piece in found if piece.start < piece.end]


def _edge(start: int, end: int) -> Piece:
    """Return the hours from `start` on up to `end`; to be taken away where they lie the other way round."""
    return Piece(HOUR_S, start, end) if start <= end else Piece(HOUR_S, end, start, -1)


def _nearest_day(moment: float) -> int:
    return math.floor(moment / DAY_S + 0.5) * DAY_S


def _day(moment: float) -> int:
    return math.ceil(moment / DAY_S) * DAY_S


def _hour(moment: float) -> int:
    return math.ceil(moment / HOUR_S) * HOUR_S
