"""What the watches find, made into alerts: kept, and then told, in this order, so that a restart tells none twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from gpumon.messages import Event, GpuReading
from master.alerts.alert_store import AlertStore
from master.alerts.clock import Clocks
from master.alerts.records import Alert
from master.alerts.rules import Rule
from master.alerts.subjects import Subject
from master.alerts.texts import card_text, ended_text, event_text, worker_text
from master.alerts.watch import Watch
from master.worker import Worker

# A database that cannot be written does not keep an alert from being told for longer.
TELL_AT_LATEST_S = 5.0
# What is pending for shorter is not kept: a reading around its threshold would be written all the time.
KEEP_PENDING_AFTER_S = 5.0
LONGEST_TEXT = 1024


class Findings:
    """The alerts that fire, by id, and what is to be told of. Not safe to share: the desk's lock guards it."""

    def __init__(self, store: AlertStore, clocks: Clocks, worker_of: Callable[[str], Worker | None]) -> None:
        self.firing: dict[str, tuple[Watch, Subject]] = {}
        self._store = store
        self._clocks = clocks
        self._worker_of = worker_of
        self._to_tell: deque[tuple[int, float, Alert]] = deque()
        self._dropped: list[str] = []
        self._counted: set[str] = set()

    def take_up(self, watch: Watch, subject: Subject) -> None:
        """Know an alert that was firing before the master was started."""
        self.firing[subject.id] = (watch, subject)

    def fires(self, watch: Watch, rule: Rule, subject: Subject, happened: Event | None) -> None:
        """Give the subject its alert."""
        subject.alert = _alert(watch, rule, subject, self._clocks.wall(), self._text(watch, rule, subject, happened))
        subject.told = subject.reading
        self.firing[subject.id] = (watch, subject)
        self.keep_and_tell(subject.alert)

    def happens_again(self, watch: Watch, rule: Rule, subject: Subject, happened: Event | None) -> None:
        """Count once more; a card in trouble may raise one XID over and over, so it is told with the values."""
        if subject.alert is not None:
            subject.alert = replace(
                subject.alert,
                text=self._text(watch, rule, subject, happened),
                value=subject.value,
                count=subject.count,
                last=self._clocks.wall(),
            )
            self._store.keep(subject.alert)
            self._counted.add(subject.id)

    def ends(self, subject: Subject, why: str | None) -> None:
        """End an alert, for good."""
        if self.firing.pop(subject.id, None) is not None and subject.alert is not None:
            until = max(self._clocks.wall(), subject.alert.since)
            text = ended_text(subject.alert.text, why)[:LONGEST_TEXT]
            self.keep_and_tell(replace(subject.alert, state="resolved", until=until, text=text))

    def is_dropped(self, subject: Subject) -> None:
        """Let go of what never fired."""
        if subject.is_kept:
            self._dropped.append(subject.id)

    def keep_and_tell(self, alert: Alert) -> None:
        """Keep an alert as it is now, and tell of it once it is kept."""
        number = self._store.keep(alert)
        self._to_tell.append((number, self._clocks.now() + TELL_AT_LATEST_S, alert))

    def tell(self, alert: Alert) -> None:
        """Tell of what need not be kept, after what is told already."""
        self._to_tell.append((0, 0.0, alert))

    def refresh(self, rule_of: Callable[[str], Rule | None]) -> None:
        """Tell anew of firing alerts that have happened again, and whose readings are others by now."""
        counted, self._counted = self._counted, set()
        for alert_id in counted & self.firing.keys():
            alert = self.firing[alert_id][1].alert
            if alert is not None:
                self.tell(alert)
        for watch, subject in self.firing.values():
            alert, rule = subject.alert, rule_of(subject.rule)
            if alert is None or rule is None or subject.reading is subject.told:
                continue
            subject.told = subject.reading
            text = self._text(watch, rule, subject, None)
            if text != alert.text:
                subject.alert = replace(alert, text=text, value=subject.value, threshold=rule.threshold, unit=rule.unit)
                self.tell(subject.alert)

    def keep_pending(self, watch: Watch, rule: Rule, subject: Subject) -> None:
        """Keep what is pending for a while, so that a restart goes on with it."""
        is_new = not subject.is_kept and self._clocks.now() - subject.since >= KEEP_PENDING_AFTER_S
        if subject.alert is not None or not (is_new or (subject.is_kept and subject.has_moved)):
            return
        subject.is_kept, subject.has_moved = True, False
        self._store.keep(_alert(watch, rule, subject, self._clocks.wall_of(subject.since), ""), is_pending=True)

    def settle(self) -> None:
        """Have deleted what never fired."""
        dropped, self._dropped = self._dropped, []
        self._store.drop(dropped)

    def to_tell(self, *, at_once: bool = False) -> Iterator[Alert]:
        """Yield what is to be told now, in the order in which it happened; at once: what is not kept yet, too."""
        now = self._clocks.now()
        while self._to_tell:
            number, at_latest, alert = self._to_tell[0]
            if not at_once and not self._store.has_stored(number) and now < at_latest:
                return
            self._to_tell.popleft()
            yield alert

    def _text(self, watch: Watch, rule: Rule, subject: Subject, happened: Event | None) -> str:
        worker = self._worker_of(watch.worker_id)
        if rule.facts.is_event:
            gpu = _reading(worker, subject.gpu)
            text = event_text(rule, gpu, subject.gpu, happened, subject.count)
        elif not rule.facts.about_card:
            text = worker_text(rule, worker, self._clocks.now() - watch.heard)
        else:
            text = card_text(rule, subject.reading, subject.gpu, subject.value)
        return text[:LONGEST_TEXT]


def _alert(watch: Watch, rule: Rule, subject: Subject, since: float, text: str) -> Alert:
    return Alert(
        id=subject.id,
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        worker_id=watch.worker_id,
        gpu=subject.gpu,
        state="firing",
        since=since,
        text=text,
        value=subject.value,
        threshold=rule.threshold,
        unit=rule.unit,
        count=subject.count,
        last=since if rule.facts.is_event else None,
        labels=dict(watch.labels),
    )


def _reading(worker: Worker | None, uuid: str | None) -> GpuReading | None:
    gpus = worker.metrics.gpus if worker is not None and worker.metrics is not None else ()
    return next((gpu for gpu in gpus if gpu.uuid == uuid), None)
