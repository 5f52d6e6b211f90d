"""What one rule says about one card or worker over time: nothing, pending until it has lasted, firing, and its end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import Enum

from gpumon.messages import GpuReading
from master.alerts.conditions import CLEAR, MET, UNKNOWN, Verdict
from master.alerts.records import Alert

# Without a reading for so long, nobody can say any more that it goes on.
FORGOTTEN_AFTER_S = 900.0


class Step(Enum):
    """What came of a verdict."""

    NOTHING = 0
    FIRES = 1
    ENDS = 2
    IS_DROPPED = 3


@dataclass(slots=True)
class Subject:
    """A rule on a card (`gpu`) or worker (None) that is pending (`alert` None) or firing.

    Moments are of the steady clock. `since`: from when on it has lasted, moved on by every gap in the readings, which
    do not count. `seen`: when the last reading was there. `is_kept`: whether the store has it. `last_event` and
    `events`, `rises` are for what happens at moments. `told` is the reading of which was last said.
    """

    rule: str
    gpu: str | None
    id: str
    since: float
    seen: float
    alert: Alert | None = None
    value: float | None = None
    reading: GpuReading | None = None
    is_kept: bool = False
    has_moved: bool = False
    last_event: float = 0.0
    events: int = 0
    rises: int = 0
    told: GpuReading | None = None
    free_since: float | None = None

    @property
    def count(self) -> int:
        """How often it has happened. An ECC error shows twice, as an event and in the count of its card."""
        return max(self.events, self.rises, 1)

    def free_for_s(self, verdict: Verdict, now: float) -> float:
        """Return for how long, in seconds, the rule has said without a break that it is over."""
        if verdict is CLEAR and self.free_since is None:
            self.free_since = now
        elif verdict is MET:
            self.free_since = None
        return now - self.free_since if self.free_since is not None else 0.0

    def observe(self, verdict: Verdict, now: float, patience_s: float, for_s: float) -> Step:
        """Go on with a verdict at `now`; readings that are further apart than `patience_s` have a gap between them."""
        if verdict is UNKNOWN:
            return Step.NOTHING
        if self.alert is not None:
            self.seen = now
            return Step.ENDS if verdict is CLEAR else Step.NOTHING
        if verdict is not MET:
            return Step.IS_DROPPED
        gap = now - self.seen
        if gap > FORGOTTEN_AFTER_S:
            self.since, self.has_moved = now, True
        elif gap > patience_s:
            self.since, self.has_moved = self.since + gap, True
        self.seen = now
        return Step.FIRES if now - self.since >= for_s else Step.NOTHING


def begin(rule: str, gpu: str | None, now: float) -> Subject:
    """Return a subject that has begun to be pending now, with the id that its alert will have."""
    return Subject(rule, gpu, f"a-{secrets.token_hex(8)}", now, now)
