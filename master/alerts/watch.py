"""One worker as the rules see it, and who is told what they find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gpumon.messages import Event, Info
from master.alerts.conditions import Plan
from master.alerts.rules import Rule
from master.alerts.subjects import Subject


@dataclass(slots=True)
class Watch:
    """One worker. `heard` and `last_seen` are the same moment by the steady and by the wall clock."""

    worker_id: str
    heard: float
    last_seen: float | None = None
    info: Info | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    subjects: dict[str | None, dict[str, Subject]] = field(default_factory=dict)
    ecc_counts: dict[str, int] = field(default_factory=dict)

    def each(self) -> Iterator[Subject]:
        """Yield what is pending or firing; it may be ended meanwhile."""
        for subjects in list(self.subjects.values()):
            yield from list(subjects.values())

    def add(self, subject: Subject) -> None:
        """Follow a subject."""
        self.subjects.setdefault(subject.gpu, {})[subject.rule] = subject

    def drop(self, subject: Subject) -> None:
        """Follow it no more."""
        subjects = self.subjects.get(subject.gpu, {})
        subjects.pop(subject.rule, None)
        if not subjects:
            self.subjects.pop(subject.gpu, None)


class Outcome(Protocol):
    """Who is told what comes out."""

    def fires(self, watch: Watch, rule: Rule, subject: Subject, happened: Event | None) -> None:
        """Give the subject its alert: a rule fires."""

    def happens_again(self, watch: Watch, rule: Rule, subject: Subject, happened: Event | None) -> None:
        """Take that what fires at moments has happened once more."""

    def ends(self, subject: Subject, why: str | None) -> None:
        """Take that what was firing is over: as the rule says (None), or for another reason."""

    def is_dropped(self, subject: Subject) -> None:
        """Take that what was pending is over before it has fired."""
