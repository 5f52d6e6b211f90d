"""What a check has found: how it is, in one line, and the one thing to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """How a thing is. `UNKNOWN`: it could not be looked at from here; the line says why."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis: `what` was looked at, what was `found`, and what `to_do` (None: nothing)."""

    what: str
    verdict: Verdict
    found: str
    to_do: str | None = None
