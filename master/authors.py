"""Who published an ad-hoc command: the broker's word (`gpumon/audit`) matched with the commands it is about.

A command object with an id is matched by that; shell text, to which the agent gives an id, by worker and text, the
oldest first, within 10 minutes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gpumon.commands import CommandAudit

WITHIN_S = 600.0
MAX_WAITING = 10_000
_AUDITED_CHARACTERS = 4096


@dataclass(slots=True)
class _Waiting:
    received: float
    audit: CommandAudit
    worker_id: str | None  # None where the command went to all
    answered_by: set[str] = field(default_factory=set)


def is_about(audit: CommandAudit, command: str) -> bool:
    """Tell whether the audit's text, which is cut, is this command's."""
    return audit.command == command[:_AUDITED_CHARACTERS]


class Authors:
    """Audits that wait for their command to show up. Not safe to share: the desk's lock guards it."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque(maxlen=MAX_WAITING)

    def add(self, audit: CommandAudit, worker_id: str | None, received: float) -> None:
        """Keep an audit whose command is not known yet."""
        self._expire(received)
        self._waiting.append(_Waiting(received, audit, worker_id))

    def of_id(self, command_id: str, command: str, now: float) -> CommandAudit | None:
        """Return the audit of a command object that carried this id."""
        self._expire(now)
        found = [w.audit for w in self._waiting if w.audit.id == command_id and is_about(w.audit, command)]
        return found[0] if found else None

    def of_text(self, worker_id: str, command: str, now: float) -> CommandAudit | None:
        """Return the oldest audit of this shell text for this worker, and count it as used by that worker."""
        for waiting in self._open_for(worker_id, now):
            if is_about(waiting.audit, command):
                waiting.answered_by.add(worker_id)
                return waiting.audit
        return None

    def only_one_for(self, worker_id: str, now: float) -> CommandAudit | None:
        """Return the audit that waits for this worker if it is the only one, so that it must be what runs there."""
        found = self._open_for(worker_id, now)
        return found[0].audit if len(found) == 1 else None

    def _open_for(self, worker_id: str, now: float) -> list[_Waiting]:
        self._expire(now)
        return [
            waiting
            for waiting in self._waiting
            if waiting.audit.id is None
            and waiting.worker_id in (None, worker_id)
            and worker_id not in waiting.answered_by
        ]

    def _expire(self, now: float) -> None:
        while self._waiting and self._waiting[0].received < now - WITHIN_S:
            self._waiting.popleft()
