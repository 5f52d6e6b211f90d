"""Hours and days of somebody's time zone."""

from __future__ import annotations

import contextlib
import math
import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from webui.arguments import BadQuestionError

Step = Literal["hour", "day"]

HOUR_S = 3600
MOST_BUCKETS = 1_000
# IANA's names (RFC 6557): Europe/Berlin, Etc/GMT+5, America/Argentina/Buenos_Aires.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_UTC = frozenset({"UTC", "Etc/UTC", "Z", "GMT"})


def time_zone(asked: str | None) -> tzinfo:
    """Return a time zone by its name in IANA's database, UTC without one. Raises BadQuestionError."""
    if asked is None or asked in _UTC:
        return timezone.utc
    if _NAME.fullmatch(asked):
        # Not there (ZoneInfoNotFoundError is a KeyError), a folder, or a file that is no zone.
        with contextlib.suppress(KeyError, OSError, ValueError):
            return ZoneInfo(asked)
    raise BadQuestionError(f"tz must be a time zone such as Europe/Berlin or UTC, and {asked[:60]!r} is not known here")


def buckets(start: float, end: float, step: Step, zone: tzinfo) -> list[tuple[float, float]]:
    """Return the hours or days (as that zone has them) of [start, end); the first and last may be parts of one.

    Raises BadQuestionError: for too many.
    """
    if (end - start) / (HOUR_S if step == "hour" else 24 * HOUR_S) > MOST_BUCKETS:
        hint = "ask for step=day, or for less time" if step == "hour" else "ask for less time"
        raise BadQuestionError(f"that is more than {MOST_BUCKETS} {step}s: {hint}")
    bounds = [start]
    if step == "hour":
        bounds += range(int(start // HOUR_S + 1) * HOUR_S, math.ceil(end), HOUR_S)
    else:
        day = datetime.fromtimestamp(start, zone).date()
        while (midnight := _midnight(day + timedelta(days=1), zone)) < end:
            day += timedelta(days=1)
            bounds.append(midnight)
    return list(zip(bounds, [*bounds[1:], end], strict=True))


def _midnight(day: date, zone: tzinfo) -> float:
    """Return when a day begins; where clocks are set forward at midnight, the first moment after it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
