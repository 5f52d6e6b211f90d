"""What the questions about times share: the range that is asked for, and the lines of a table to keep."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from datetime import datetime, timezone

from msgspec import Meta

from gpumon.errors import GpumonError

# Times past this year are no times, and would not fit a calendar.
_LAST_TIME = datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()
# A spreadsheet takes a cell that begins so for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
# How a time stands in the description of the API; it is read by `span`, which says more of what is wrong with it.
TIME = Meta(extra_json_schema={"type": "number"})


class BadQuestionError(GpumonError):
    """An argument of the request that cannot be used."""


def span(asked_from: str | None, asked_to: str | None, now: float, default_s: float) -> tuple[float, float]:
    """Return the range that is asked for: without `to` up to now, without `from` the last `default_s` of it.

    Raises BadQuestionError.
    """
    end = now if asked_to is None else _time("to", asked_to, now)
    start = end - default_s if asked_from is None else _time("from", asked_from, now)
    if start >= end:
        raise BadQuestionError(f"from ({start:.0f}) must be before to ({end:.0f})")
    return start, end


def _time(name: str, asked: str, now: float) -> float:
    try:
        value = float(asked)
    except ValueError:
        value = math.nan
    if value < 0:
        value += now
    if not 0 <= value <= _LAST_TIME:
        raise BadQuestionError(
            f"{name} must be in seconds since 1970, or a negative number of seconds before now, not {asked[:60]!r}"
        )
    return value


def csv_line(values: Iterable[str]) -> str:
    """Return a line of a table (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()


def csv_text(text: str) -> str:
    """Return a text from elsewhere as a cell that no spreadsheet reckons with."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
