"""Numbers with a unit, durations and times of day, as people write them in a rule.

Each function raises ValueError with what is expected; the caller says of which rule and field.
"""

from __future__ import annotations

import math
import re
from typing import Any

from master.alerts.kinds import CELSIUS, PERCENT, WATT, most
from master.alerts.rules import QuietHours

LONGEST_S = 7 * 86_400.0

_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(.*?)\s*", re.DOTALL)
_TIMES = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*")
_UNITS = {
    "°c": CELSIUS,
    "c": CELSIUS,
    "degc": CELSIUS,
    "celsius": CELSIUS,
    "%": PERCENT,
    "percent": PERCENT,
    "w": WATT,
    "watt": WATT,
    "watts": WATT,
}
_SECONDS = {
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
    "days": 86_400.0,
}
_EXAMPLES = {CELSIUS: "85 °C", PERCENT: "90 %", WATT: "600 W"}


def parse_quantity(value: Any, units: tuple[str, ...]) -> tuple[float, str]:
    """Return a number and its unit, one of `units`: the first for a bare number."""
    examples = " or ".join(f'"{_EXAMPLES[unit]}"' for unit in units)
    expected = f"expected a number in {units[0]} or text such as {examples}"
    if _is_number(value):
        number, unit = float(value), units[0]
    else:
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(expected)
        number = float(match[1])
        unit = _UNITS.get(match[2].lower(), match[2]) if match[2] else units[0]
        if unit not in units:
            raise ValueError(f"{match[2]!r} is not its unit, {expected}")
    if not 0 <= number <= most(unit):
        raise ValueError(f"expected 0 to {most(unit):g} {unit}")
    return number, unit


def parse_duration(value: Any) -> float:
    """Return seconds from a number of them or text (`90 s`, `15m`, `2 h`, `1 d`)."""
    expected = 'expected seconds as a number, or text such as "90 s", "15m" or "2 h"'
    if _is_number(value):
        seconds = float(value)
    else:
        match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
        factor = _SECONDS.get(match[2].lower()) if match is not None else None
        if match is None or factor is None:
            raise ValueError(expected)
        seconds = float(match[1]) * factor
    if not 0 <= seconds <= LONGEST_S:
        raise ValueError("expected 0 to 7 days")
    return seconds


def parse_quiet_hours(value: Any) -> QuietHours | None:
    """Return the quiet hours written as `22:00-07:00`, None for an empty text."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    match = _TIMES.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected times of day such as "22:00-07:00"')
    start_h, start_m, end_h, end_m = (int(part) for part in match.groups())
    if max(start_h, end_h) > 23 or max(start_m, end_m) > 59:
        raise ValueError("there is no such time of day, expected 00:00 to 23:59")
    if (start_h, start_m) == (end_h, end_m):
        raise ValueError("they end as they begin: to be told of nothing, turn the rule off or silence it")
    return QuietHours(start_h * 60 + start_m, end_h * 60 + end_m)


def duration_text(seconds: float) -> str:
    """Return a duration as people read it: `45 s`, `2 min`, `1.5 h`, `3 days`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{_short(seconds / 60)} min"
    if seconds < 172_800:
        return f"{_short(seconds / 3600)} h"
    return f"{_short(seconds / 86_400)} days"


def quantity_text(value: float, unit: str | None) -> str:
    """Return a number with its unit, `85 °C`."""
    return f"{_short(value)} {unit}" if unit else _short(value)


def _short(number: float) -> str:
    return f"{round(number, 1):g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
