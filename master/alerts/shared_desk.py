"""The alert desk of a master that shares the fleet: it judges workers that it keeps, and shows what others find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gpumon.settings import AlertSettings
from gpumon.topics import Topics
from master.alerts.desk import AlertDesk
from master.alerts.others import OthersAlerts
from master.alerts.records import Alert
from master.alerts.take_up import unjudged
from master.audit import Actor
from master.bus import EventBus
from master.events import AlertChanged, AlertRulesChanged, SampleArrived, WorkerEventArrived
from master.fleet import Fleet
from master.keeping import Keeps
from master.store.engine import Store, StoreError
from master.store.writer import Writer
from master.worker import Worker

COMPARE_EACH_S = 5.0


class Elsewhere(Protocol):
    """How a worker's keeper is asked about an alert. Both methods raise GpumonError."""

    def acknowledge(self, alert: Alert, by: Actor, note: str) -> Alert:
        """Have it noted that somebody has seen the alert."""

    def unacknowledge(self, alert: Alert, by: Actor) -> Alert:
        """Have that taken back."""


class SharedAlertDesk(AlertDesk):
    """Alerts of all workers, whichever master has found them."""

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
        keeps: Keeps,
        elsewhere: Elsewhere,
    ) -> None:
        super().__init__(store, writer, bus, fleet, topics, settings=settings, is_listening=is_listening, keeps=keeps)
        self._keeps = keeps
        self._elsewhere = elsewhere
        self._others = OthersAlerts(self._kept)
        self._compared_at = float("-inf")

    def take_over(self, is_gained: Keeps) -> None:
        """Go on with what is pending and fires of these workers, and with what happened since. Raises StoreError."""
        kept = [item for item in self._kept.open_alerts() if is_gained(item.alert.worker_id)]
        workers = [worker for worker in self._fleet.workers() if is_gained(worker.id)]
        with self._lock:
            self._others.let_go(is_gained)
            self._go_on(workers, kept)
            for worker in workers:
                for event in unjudged(self._fleet.events(worker.id), worker.id, kept, self._clocks.wall()):
                    self._watches.take_event(worker, event)
        self._publication.compare_again()

    def release(self, is_lost: Keeps, *, is_late: bool) -> None:
        """Have written what is pending of these workers, and let go of what is pending and fires."""
        self._tell(at_once=True)
        with self._lock:
            if not is_late:
                self._keep_pending()
            for worker_id in [name for name in self._watches.workers if is_lost(name)]:
                for subject in self._watches.workers.pop(worker_id).each():
                    if self._findings.firing.pop(subject.id, None) is not None and subject.alert is not None:
                        self._others.take(subject.alert)
        self._publication.let_go(is_lost)

    def told(self, alert: Alert) -> None:
        """Take that another master, which keeps the worker, tells of an alert."""
        if not self._keeps(alert.worker_id):
            self._others.take(alert)
            self._bus.publish(AlertChanged(self._shown(alert), is_told=True))

    def reload(self) -> None:
        """Take up rules and silences that another master has changed. Raises StoreError."""
        with self._changing:
            self._use_rules()
        with self._lock:
            self._silences.load(self._clocks.wall())
            self._note_silenced()
        self._bus.publish(AlertRulesChanged(is_told=True))

    def tick(self) -> None:
        """Look at the clock, tell what has been found, and now and then what others have found."""
        super().tick()
        now = self._clocks.now()
        if now - self._compared_at >= COMPARE_EACH_S:
            self._compared_at = now
            try:
                for alert in self._others.compare(self._keeps):
                    self._bus.publish(AlertChanged(self._shown(alert), is_told=True))
            except StoreError:
                return  # the writer tells of a database that is away

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert, None where there never was one, or it is over for too long. Raises StoreError."""
        others = self._others.find(alert_id)
        return super().alert(alert_id) if others is None else self._shown(others)

    def acknowledge(self, alert_id: str, by: Actor, note: str = "") -> Alert:
        """Note that somebody has seen what fires, at the master that keeps its worker.

        Raises AlertError: where it does not fire; NoAnswerError: where that one does not answer; StoreError.
        """
        others = self._others.find(alert_id)
        return (
            super().acknowledge(alert_id, by, note) if others is None else self._elsewhere.acknowledge(others, by, note)
        )

    def unacknowledge(self, alert_id: str, by: Actor) -> Alert:
        """Take back that somebody has seen it. Raises the same."""
        others = self._others.find(alert_id)
        return super().unacknowledge(alert_id, by) if others is None else self._elsewhere.unacknowledge(others, by)

    def _begin(self) -> None:
        with self._lock:
            self._go_on([], [])
        for _ in self._others.compare(self._keeps):
            pass  # nobody listens yet

    def _judged(self) -> Sequence[Worker]:
        return [worker for worker in self._fleet.workers() if self._keeps(worker.id)]

    def _all_firing(self) -> list[Alert]:
        return [*self._found(), *(self._shown(alert) for alert in self._others.firing())]

    def _take_sample(self, event: SampleArrived) -> None:
        if self._keeps(event.worker_id):
            super()._take_sample(event)

    def _take_event(self, event: WorkerEventArrived) -> None:
        if self._keeps(event.worker_id):
            super()._take_event(event)
