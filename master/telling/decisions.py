"""Whether something is to be told now, later, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from master.alerts.records import Alert, Severity
from master.telling.notifications import Notification


class Verdict(Enum):
    """What is to be done with a notification."""

    TELL = auto()
    TELL_BOTH = auto()  # that it fired, and that it is over by now
    WAIT = auto()
    DROP = auto()
    SETTLE = auto()  # it was perhaps told, and is not told again


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict; `until` is when to look again at what waits, None where only a change of the alert matters."""

    verdict: Verdict
    until: float | None = None
    why: str = ""


_TELL = Decision(Verdict.TELL)


def decide_firing(
    row: Notification, alert: Alert, quiet_until: float | None, *, end: Notification | None, tells_ends: bool
) -> Decision:
    """Decide about telling that an alert has fired.

    `quiet_until`: until when quiet hours hold for it, None outside. `end`: what is to be told of its end, which may
    have gone out in the same message; `tells_ends`: whether the channel tells ends at all.
    """
    held = _held(alert, quiet_until)
    if alert.is_firing:
        return _TELL if held is None else Decision(Verdict.WAIT, quiet_until, held)
    if row.message is not None:  # perhaps told: if it is told again, then as it was
        if held is not None:
            return Decision(Verdict.SETTLE)
        was_both = not tells_ends or (end is not None and end.message == row.message)
        return Decision(Verdict.TELL_BOTH) if was_both else _TELL
    if held is not None:
        return Decision(Verdict.DROP, why=f"over before it was told ({held})")
    if alert.severity is Severity.NOTE:
        return Decision(Verdict.DROP, why="over before it was told")
    return Decision(Verdict.TELL_BOTH)


def decide_resolved(alert: Alert, firing: Notification | None, quiet_until: float | None) -> Decision:
    """Decide about telling that an alert is over; `firing`: what became of telling that it fired."""
    if firing is not None and firing.is_open:
        return Decision(Verdict.WAIT)
    if firing is None or firing.state != "sent":
        return Decision(Verdict.DROP, why="its beginning was not told")
    if alert.silenced:
        return Decision(Verdict.DROP, why="silenced")
    return _TELL if quiet_until is None else Decision(Verdict.WAIT, quiet_until)


def _held(alert: Alert, quiet_until: float | None) -> str | None:
    if alert.silenced:
        return "silenced"
    if alert.acknowledged_by is not None:
        return "acknowledged"
    return "quiet hours" if quiet_until is not None else None
