"""The alert desk: what fires and what has, who has seen it, what is silenced, and the rules that find it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gpumon.link import MqttLink
from gpumon.settings import AlertSettings
from gpumon.topics import Topics
from master.alerts.actions import actions_for
from master.alerts.alert_store import AlertStore, KeptAlert
from master.alerts.clock import Clocks
from master.alerts.errors import AlertError, RuleError
from master.alerts.findings import Findings
from master.alerts.publication import Publication
from master.alerts.records import Action, Alert, Severity, Silence
from master.alerts.rulebook import RuleBook
from master.alerts.rules import Rule, RuleView
from master.alerts.silences import Silences, ended
from master.alerts.take_up import take_up
from master.alerts.watches import Watches
from master.audit import Actor, add_entry
from master.bus import EventBus
from master.events import AlertChanged, AlertRulesChanged, SampleArrived, WorkerEventArrived, WorkerRemoved
from master.fleet import Fleet
from master.keeping import Keeps, keeps_all
from master.store.engine import Store
from master.store.writer import Writer
from master.worker import Worker

__all__ = ["AlertDesk", "AlertError", "RuleError"]

# How often values of what fires are told anew, and what has gone on long enough is looked at.
LOOK_EACH_S = 5.0
MOST_AT_ONCE = 1000
LONGEST_NOTE = 500
_DAY_S = 86_400.0
_GRAVITY = {severity: place for place, severity in enumerate(Severity)}


class AlertDesk:
    """Alerts, safe to ask from any thread. Constructing it does nothing.

    `is_listening` tells whether the master hears the broker: while it does not, nobody is offline.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        bus: EventBus,
        fleet: Fleet,
        topics: Topics,
        *,
        settings: AlertSettings,
        is_listening: Callable[[], bool],
        clocks: Clocks | None = None,
        keeps: Keeps = keeps_all,
    ) -> None:
        self._clocks = clocks or Clocks()
        self._store = store
        self._bus = bus
        self._fleet = fleet
        self._settings = settings
        self._is_listening = is_listening
        self._kept = AlertStore(store, writer)
        self._book = RuleBook(store, settings.rules)
        self._silences = Silences(store, writer)
        self._findings = Findings(self._kept, self._clocks, fleet.worker)
        self._watches = Watches(self._findings, self._clocks.now, settings.events_end_after_s)
        self._publication = Publication(topics, self._clocks, self._firing_of, self._is_watched, keeps)
        self._silenced: set[str] = set()
        self._looked_at = float("-inf")
        self._lock = threading.Lock()
        self._changing = threading.Lock()

    def start(self) -> None:
        """Go on with what was pending and firing, and listen.

        Raises SettingError: for a rule of the settings that cannot be used; StoreError.
        """
        self._book.check_settings()
        self._book.load()
        self._silences.load(self._clocks.wall())
        self._begin()
        self._bus.subscribe(SampleArrived, self._take_sample)
        self._bus.subscribe(WorkerEventArrived, self._take_event)
        self._bus.subscribe(WorkerRemoved, self._forget)

    def attach(self, link: MqttLink) -> None:
        """Publish alerts over this link."""
        self._publication.attach(link, self._found)

    def stop(self) -> None:
        """Listen no more; safe to call twice. What is pending and firing is kept, and goes on at the next start."""
        self._bus.unsubscribe(SampleArrived, self._take_sample)
        self._bus.unsubscribe(WorkerEventArrived, self._take_event)
        self._bus.unsubscribe(WorkerRemoved, self._forget)
        self._publication.detach()

    def tick(self) -> None:
        """Look at the clock, and tell what has been found; called about once a second."""
        workers = self._judged()
        with self._lock:
            self._watches.tick(workers, is_listening=self._is_listening(), moment_of=self._clocks.moment_of)
            now = self._clocks.now()
            if now - self._looked_at >= LOOK_EACH_S:
                self._looked_at = now
                self._look()
        self._tell()

    def prune(self) -> None:
        """Delete what is kept longer than set; called about once an hour."""
        before = self._clocks.wall() - self._settings.keep_days * _DAY_S
        self._kept.prune(before)
        self._silences.prune(before)

    def active(self) -> list[Alert]:
        """Return what fires, the gravest before the others, then the newest."""
        return sorted(self._all_firing(), key=lambda alert: (_GRAVITY[alert.severity], -alert.since, alert.id))

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert, None where there never was one, or it is over for too long. Raises StoreError."""
        with self._lock:
            found = self._findings.firing.get(alert_id)
            if found is not None and found[1].alert is not None:
                return self._shown(found[1].alert)
        return self._kept.alert(alert_id)

    def past(
        self,
        limit: int,
        before: str | None = None,
        *,
        rule: str | None = None,
        worker_id: str | None = None,
        gpu: str | None = None,
        severity: Severity | None = None,
    ) -> list[Alert]:
        """Return alerts that are over, by when they fired, newest first; `before` is the id of the last one seen.

        Raises AlertError: where there is no such alert; StoreError.
        """
        last = self._find(before) if before is not None else None
        most = max(1, min(limit, MOST_AT_ONCE))
        return self._kept.past(most, last, rule=rule, worker_id=worker_id, gpu=gpu, severity=severity)

    def acknowledge(self, alert_id: str, by: Actor, note: str = "") -> Alert:
        """Note that somebody has seen what fires, and return the alert as it is then.

        Raises AlertError: where it does not fire; StoreError.
        """
        if len(note) > LONGEST_NOTE:
            raise AlertError(f"the note has {len(note)} characters, {LONGEST_NOTE} at most are kept")
        who, at = by.who or by.origin, self._clocks.wall()
        alert = self._firing(alert_id)
        with self._store.write() as connection:
            detail = {"rule": alert.rule, "worker": alert.worker_id, "gpu": alert.gpu, "note": note}
            add_entry(connection, by, "alert.acknowledged", alert_id, **{k: v for k, v in detail.items() if v})
        return self._mark(alert_id, who, at, note)

    def unacknowledge(self, alert_id: str, by: Actor) -> Alert:
        """Take back that somebody has seen it. Raises AlertError: where it does not fire; StoreError."""
        alert = self._firing(alert_id)
        with self._store.write() as connection:
            detail = {"rule": alert.rule, "worker": alert.worker_id, "gpu": alert.gpu}
            add_entry(connection, by, "alert.unacknowledged", alert_id, **{k: v for k, v in detail.items() if v})
        return self._mark(alert_id, None, None, "")

    def silences(self) -> list[Silence]:
        """Return the silences that hold, the one that ends first before the others."""
        with self._lock:
            return self._silences.all(self._clocks.wall())

    def silence(
        self,
        *,
        until: float,
        reason: str,
        by: Actor,
        rule: str | None = None,
        worker_id: str | None = None,
        gpu: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Silence:
        """Have nobody told, until `until`, of alerts that match all that is given; without anything, of all.

        Raises AlertError: for one that cannot be used; StoreError.
        """
        if rule is not None and self._book.rule(rule) is None:
            raise AlertError(f"there is no rule {rule!r} to be silenced")
        with self._lock:
            made = self._silences.new(
                self._clocks.wall(),
                until=until,
                reason=reason,
                by=by,
                rule=rule,
                worker_id=worker_id,
                gpu=gpu,
                labels=labels or {},
            )
        with self._store.write() as connection:
            self._silences.write(connection, made, by)
        self._take_silence(made)
        return made

    def end_silence(self, silence_id: str, by: Actor) -> Silence:
        """End a silence now. Raises AlertError: where there is none; StoreError."""
        now = self._clocks.wall()
        with self._lock:
            over = ended(self._silences.find(silence_id, now), now)
        with self._store.write() as connection:
            self._silences.write(connection, over, by, has_ended=True)
        self._take_silence(over)
        return over

    def rules(self) -> list[RuleView]:
        """Return all rules as they are shown, also those that are turned off or cannot be used."""
        return self._book.views()

    def rule(self, name: str) -> Rule | None:
        """Return the rule in use of this name, None where there is none."""
        return self._book.rule(name)

    def put_rule(self, rule: Rule, by: Actor) -> RuleView:
        """Make a rule, or change the one of its name, from now on. Raises AlertError; StoreError."""
        with self._changing:
            self._book.check_put(rule)
            with self._store.write() as connection:
                self._book.put(connection, rule, self._clocks.wall(), by)
            self._use_rules()
            view = self._book.view(rule.name)
        self._bus.publish(AlertRulesChanged())
        return view

    def delete_rule(self, name: str, by: Actor) -> None:
        """Delete what the page has made of a rule: it is as in the settings again, or built in, or gone.

        Raises AlertError: where the page has made nothing of it; StoreError.
        """
        with self._changing:
            with self._store.write() as connection:
                self._book.remove(connection, name, by)
            self._use_rules()
        self._bus.publish(AlertRulesChanged())

    def actions(self, alert_id: str) -> list[Action]:
        """Return what can be run about an alert, filled in for the present; nothing for one that is over.

        Raises AlertError: where there is no such alert; StoreError.
        """
        alert = self._find(alert_id)
        rule = self._book.rule(alert.rule)
        if not alert.is_firing or rule is None:
            return []
        return actions_for(alert, rule, self._fleet.worker(alert.worker_id), self._clocks.wall())

    def _begin(self) -> None:
        with self._lock:
            self._go_on(self._fleet.workers(), self._kept.open_alerts())

    def _go_on(self, workers: Sequence[Worker], kept: Iterable[KeptAlert]) -> None:
        """Go on with these workers, and what was kept of their alerts; whoever calls holds the lock."""
        for worker in workers:
            self._watches.remember(worker)
        take_up(kept, workers, self._watches, self._findings, self._clocks)
        self._watches.use(self._book.rules())
        shown = [self._shown(subject.alert) for _, subject in self._findings.firing.values() if subject.alert]
        self._silenced = {alert.id for alert in shown if alert.silenced}

    def _judged(self) -> Sequence[Worker]:
        """Return the workers that are judged here."""
        return self._fleet.workers()

    def _found(self) -> list[Alert]:
        """Return what was found here and fires."""
        with self._lock:
            return [self._shown(subject.alert) for _, subject in self._findings.firing.values() if subject.alert]

    def _all_firing(self) -> list[Alert]:
        return self._found()

    def _tell(self, *, at_once: bool = False) -> None:
        """Tell what was found; at once: also what is not written yet."""
        with self._lock:
            found = [self._shown(alert) for alert in self._findings.to_tell(at_once=at_once)]
            self._silenced.update(alert.id for alert in found if alert.silenced and alert.is_firing)
        for alert in found:
            self._bus.publish(AlertChanged(alert))
            self._publication.tell(alert)

    def _take_sample(self, event: SampleArrived) -> None:
        worker = self._fleet.worker(event.worker_id)
        if worker is not None and worker.metrics is not None:
            with self._lock:
                self._watches.take_sample(worker, worker.metrics)

    def _take_event(self, event: WorkerEventArrived) -> None:
        worker = self._fleet.worker(event.worker_id)
        known = [kept for _, kept in self._fleet.events(event.worker_id)]
        if worker is None or known.count(event.event) > 1:  # delivered again, after others
            return
        with self._lock:
            self._watches.take_event(worker, event.event)

    def _forget(self, event: WorkerRemoved) -> None:
        with self._lock:
            self._watches.forget(event.worker_id)
        self._publication.clear_worker(event.worker_id)

    def _look(self) -> None:
        self._watches.forget_unknown({worker.id for worker in self._fleet.workers()})
        self._watches.end_old()
        self._findings.refresh(self._book.rule)
        self._keep_pending()
        self._findings.settle()
        self._silences.let_go(self._clocks.wall())
        self._note_silenced()

    def _keep_pending(self) -> None:
        for watch in self._watches.workers.values():
            for subject in watch.each():
                rule = self._book.rule(subject.rule)
                if rule is not None:
                    self._findings.keep_pending(watch, rule, subject)

    def _note_silenced(self) -> None:
        """Have told what is silenced by now and was not, and the other way round."""
        alerts = [self._shown(subject.alert) for _, subject in self._findings.firing.values() if subject.alert]
        silenced = {alert.id for alert in alerts if alert.silenced}
        changed, self._silenced = silenced ^ self._silenced, silenced
        for alert in alerts:
            if alert.id in changed:
                self._findings.tell(alert)

    def _shown(self, alert: Alert) -> Alert:
        silenced = self._silences.covers(alert, self._clocks.wall())
        return alert if alert.silenced == silenced else replace(alert, silenced=silenced)

    def _firing_of(self, worker_id: str, rule: str) -> list[Alert]:
        with self._lock:
            watch = self._watches.workers.get(worker_id)
            found = [subjects[rule].alert for subjects in watch.subjects.values() if rule in subjects] if watch else []
        return [alert for alert in found if alert is not None]

    def _is_watched(self, worker_id: str, rule: str) -> bool:
        with self._lock:
            watch = self._watches.workers.get(worker_id)
            return watch is not None and watch.plan is not None and rule in watch.plan.rules

    def _find(self, alert_id: str) -> Alert:
        alert = self.alert(alert_id)
        if alert is None:
            raise AlertError(f"there is no alert {alert_id!r}")
        return alert

    def _firing(self, alert_id: str) -> Alert:
        alert = self._find(alert_id)
        if not alert.is_firing:
            raise AlertError(f"alert {alert_id} is over: there is nothing to acknowledge any more")
        return alert

    def _mark(self, alert_id: str, who: str | None, at: float | None, note: str) -> Alert:
        with self._lock:
            found = self._findings.firing.get(alert_id)
            if found is None or found[1].alert is None:
                raise AlertError(f"alert {alert_id} is over: there is nothing to acknowledge any more")
            subject = found[1]
            marked = replace(found[1].alert, acknowledged_by=who, acknowledged_at=at, acknowledged_note=note)
            subject.alert = marked
            self._findings.keep_and_tell(marked)
            return self._shown(marked)

    def _take_silence(self, silence: Silence) -> None:
        with self._lock:
            self._silences.take(silence, self._clocks.wall())
            self._note_silenced()
        self._bus.publish(AlertRulesChanged())

    def _use_rules(self) -> None:
        self._book.load()
        with self._lock:
            self._watches.use(self._book.rules())
        self._publication.clear_unwatched()
