"""What the questions about times share: the range that is asked for, and the lines of a table to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated

from msgspec import Meta

from gpumon.errors import GpumonError

# Times past this year are no times, and would not fit a calendar.
_LAST_TIME = int(datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp())
_LONGEST_AGO_S = 50 * 366 * 86_400
# A spreadsheet takes a cell that begins so for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_TIME = Meta(
    ge=-_LONGEST_AGO_S, le=_LAST_TIME, description="in seconds since 1970, or a negative number of seconds before now"
)
Time = Annotated[float, _TIME]


class BadQuestionError(GpumonError):
    """Arguments that are each as described, and ask for nothing that there is; answered with 422."""

    see = "api.md#problems"


def span(asked_from: float | None, asked_to: float | None, now: float, default_s: float) -> tuple[float, float]:
    """Return the range that is asked for: without `to` up to now, without `from` the last `default_s` of it.

    Raises BadQuestionError: where it ends before it begins.
    """
    end = now if asked_to is None else _time(asked_to, now)
    start = end - default_s if asked_from is None else _time(asked_from, now)
    if start >= end:
        raise BadQuestionError(f"from ({start:.0f}) must be before to ({end:.0f})")
    return start, end


def _time(asked: float, now: float) -> float:
    return asked + now if asked < 0 else asked


def csv_line(values: Iterable[str]) -> str:
    """Return a line of a table (RFC 4180)."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()


def csv_text(text: str) -> str:
    """Return a text from elsewhere as a cell that no spreadsheet reckons with."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
