"""What a check has found: how it is, in one line, and the one thing to do where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gpumon.errors import GpumonError


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


def wrong(what: str, error: GpumonError) -> Finding:
    """Return what an error says: before its first colon what was found, after it what to do."""
    found, _, to_do = str(error).partition(": ")
    return Finding(what, Verdict.BAD, found, to_do or None)


def not_installed(what: str, error: ModuleNotFoundError, to_do: str) -> Finding:
    """Return that the part of gpumon which would look at this is not here."""
    return Finding(what, Verdict.UNKNOWN, f"{error.name} is not installed here", to_do)
