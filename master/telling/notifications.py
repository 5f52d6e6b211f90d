"""What is to be told: that an alert fires, or has ended, by one channel; and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

What = Literal["firing", "resolved"]
State = Literal["waiting", "sending", "sent", "failed", "dropped"]
Key = tuple[str, What]

# Pauses between attempts grow from 10 s to 5 min; they add up to a day before it is given up. Both must have been: the
# attempts, since it may have been held back for longer, and the day, since every start of the master tries at once.
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
GIVE_UP_AFTER_S = 86_400.0
# No pause and no gathering puts anything further ahead.
_FURTHEST_S = 2 * 3600.0
_DOUBLINGS = 5  # 10, 20, 40, 80, 160, and then 300
_GROWING_S = FIRST_PAUSE_S * (2**_DOUBLINGS - 1)
MOST_ATTEMPTS = 1 + _DOUBLINGS + int((GIVE_UP_AFTER_S - _GROWING_S) / LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Notification:
    """A row of the table `notifications`; times are seconds since 1970, by the master's clock.

    `message`: the id of a message that may have told of it already, since its sending was not seen to its end.
    """

    alert_id: str
    what: What
    channel: str
    created: float
    due: float
    state: State = "waiting"
    attempts: int = 0
    problem: str | None = None
    message: str | None = None
    ended: float | None = None

    @property
    def key(self) -> Key:
        """What it tells, whichever the channel."""
        return self.alert_id, self.what

    @property
    def is_open(self) -> bool:
        """Whether it is still to be told."""
        return self.state in ("waiting", "sending")

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be tried; so is what a wall clock that was set back has put far ahead."""
        return self.due <= now or self.due > now + _FURTHEST_S

    def sending(self, message: str) -> Notification:
        """Return it as a message with it goes out."""
        return replace(self, state="sending", message=message)

    def sent(self, now: float) -> Notification:
        """Return it as it is once people were told."""
        return replace(self, state="sent", problem=None, message=None, ended=now)

    def dropped(self, now: float, why: str) -> Notification:
        """Return it as it is when there is nothing to tell any more."""
        return replace(self, state="dropped", problem=why, message=None, ended=now)

    def not_sent(self, now: float, problem: str, *, is_uncertain: bool) -> Notification:
        """Return it as it is after an attempt that failed, or of which nobody knows how it went."""
        attempts = self.attempts + 1
        if attempts >= MOST_ATTEMPTS and now - self.created >= GIVE_UP_AFTER_S:
            return replace(self, state="failed", attempts=attempts, problem=problem, message=None, ended=now)
        return replace(
            self,
            state="waiting",
            attempts=attempts,
            due=now + pause_s(attempts),
            problem=problem,
            message=self.message if is_uncertain else None,
        )

    def taken_up(self, now: float) -> Notification:
        """Return it as it is at a start: what failed is tried at once, what was being sent at a kill, again."""
        if self.state == "sending":
            why = "the master ended while it was being sent"
            return replace(self, state="waiting", due=now, attempts=max(self.attempts, 1), problem=why)
        return replace(self, due=now) if self.is_open and self.attempts > 0 else self


def pause_s(attempts: int) -> float:
    """Return how long to wait after so many attempts, in seconds."""
    return LONGEST_PAUSE_S if attempts > _DOUBLINGS else FIRST_PAUSE_S * float(2 ** (attempts - 1))
