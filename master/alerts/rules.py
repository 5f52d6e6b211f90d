"""A rule: what is looked for, on which workers, for how long, how grave it is, and what can be done about it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from master.alerts.kinds import KINDS, KindFacts
from master.alerts.records import Kind, Severity

Origin = Literal["built in", "settings", "page"]


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day, from one minute of the day to another (which may be on the next day), in local time."""

    start_minute: int
    end_minute: int

    def until(self, now: float) -> float | None:
        """Return when the quiet hours that hold at `now` (seconds since 1970) end, None outside of them."""
        local = datetime.datetime.fromtimestamp(now).astimezone()
        minute = local.hour * 60 + local.minute
        passed = (minute - self.start_minute) % _DAY_MINUTES
        length = (self.end_minute - self.start_minute) % _DAY_MINUTES
        if passed >= length:
            return None
        # By the clock on the wall, so that they end as written on the days when the clock is put forward or back.
        end = (local.replace(tzinfo=None) + datetime.timedelta(minutes=length - passed)).replace(
            second=0, microsecond=0
        )
        return end.astimezone().timestamp()

    def __str__(self) -> str:
        return f"{_clock(self.start_minute)}-{_clock(self.end_minute)}"


_DAY_MINUTES = 24 * 60


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that has been checked; `rule_parsing.parse_rule` makes one of what a person wrote.

    The threshold is `above` (at or above) or `below`, in `unit`; what fires ends once the reading is on the other side
    of `clear`. `for_s`: for how many seconds it must hold before it fires. `labels`: it looks at workers that have all
    of these. `quiet_hours`: it fires in them as well, but nobody is told before they end. `commands`: what an operator
    may run about it, by name, with placeholders that `actions` fills in.
    """

    name: str
    kind: Kind
    severity: Severity = Severity.WARNING
    enabled: bool = True
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    unit: str | None = None
    for_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    quiet_hours: QuietHours | None = None
    xids: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> KindFacts:
        """What its kind looks at."""
        return KINDS[self.kind]

    @property
    def threshold(self) -> float | None:
        """The threshold, whichever side it bounds; None where the kind has none."""
        return self.above if self.above is not None else self.below

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it looks at a worker that has these labels."""
        return self.enabled and self.labels.items() <= labels.items()

    def quiet_until(self, now: float) -> float | None:
        """Return until when nobody is to be told of it, None where that may be done now; seconds since 1970."""
        return None if self.quiet_hours is None else self.quiet_hours.until(now)


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule as it is shown: where it comes from, and why it cannot be used where it cannot.

    `rule` is the one in use; where the one from the page cannot be read, that is the settings' or built-in one, or
    None. `can_be_reset`: whether `delete_rule` changes anything, since it was made or changed on the page.
    """

    name: str
    rule: Rule | None
    origin: Origin
    problem: str | None = None
    changed: float | None = None
    changed_by: str | None = None

    @property
    def can_be_reset(self) -> bool:
        """Whether the page has made or changed it."""
        return self.changed is not None
