"""Times as people give and read them at the command line."""

from __future__ import annotations

import argparse
import re
import time

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def duration_s(text: str) -> float:
    """Read `90s`, `30m`, `24h` or `7d` (an argparse type)."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: give for example 30m, 24h or 7d")
    return float(int(found[1]) * _UNITS_S[found[2]])


def shown_time(seconds: float) -> str:
    """Return a time (seconds since 1970) to the minute, in this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
