"""Commands as they are shown and kept: who ran what, where, when, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpumon.commands import CommandState, Stream

TargetState = Literal["sent", "running", "finished", "timeout", "cancelled", "refused", "expired", "failed", "lost"]
Origin = Literal["page", "api", "cli", "mqtt"]

UNFINISHED: frozenset[TargetState] = frozenset({"sent", "running"})
OFFLINE = "worker is offline"
UNKNOWN = "worker is not known here"
# Problems of targets that have failed as far as the master knows; a result says otherwise.
PRESUMED = frozenset({OFFLINE, UNKNOWN})
# By these ways in, the desk itself sends: it knows the author and every target.
DESK_ORIGINS: frozenset[Origin] = frozenset({"page", "api"})

__all__ = [
    "DESK_ORIGINS",
    "OFFLINE",
    "PRESUMED",
    "UNFINISHED",
    "UNKNOWN",
    "CommandRecord",
    "CommandState",
    "Origin",
    "OutputChunk",
    "TargetRecord",
    "TargetState",
]


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a target's output; neighbouring pieces of one stream may be joined, `seq` is the last one's."""

    seq: int
    stream: Stream
    data: str


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """A command on one worker; `exit_code` is None unless the command itself ended, `started` is the worker's time."""

    worker_id: str
    state: TargetState
    exit_code: int | None = None
    started: float | None = None
    duration_s: float | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    truncated: bool = False
    problem: str | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the state is final."""
        return self.state not in UNFINISHED


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command on all its targets; `by` is None where nobody trustworthy has said who it was."""

    id: str
    command: str
    by: str | None
    origin: Origin
    created: float
    timeout_s: float
    targets: tuple[TargetRecord, ...]

    @property
    def is_ended(self) -> bool:
        """Whether every target has ended."""
        return all(target.is_ended for target in self.targets)

    def outcome(self) -> dict[str, list[str]]:
        """Return the workers on which it ended in each way: `exit 0`, `exit 3`, `timeout`, `lost`..."""
        found: dict[str, list[str]] = {}
        for target in self.targets:
            finished = target.state == "finished" and target.exit_code is not None
            found.setdefault(f"exit {target.exit_code}" if finished else target.state, []).append(target.worker_id)
        return found
