"""The fleet: every worker's latest state, in memory, and what of it is kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gpumon.messages import STATUS_ONLINE, Event, Info, Metrics, Status
from master.bus import EventBus
from master.events import ReadingsArrived, SampleArrived, WorkerChanged, WorkerEventArrived, WorkerRemoved
from master.keeping import Keeps, keeps_all
from master.store.fleet_store import KEPT_EVENTS, FleetStore
from master.worker import Worker, WorkerState

__all__ = ["Fleet", "Worker", "WorkerState"]

NO_LABELS: Mapping[str, str] = MappingProxyType({})
# A redelivered event (QoS 1) comes soon after the first.
_REPEATS_AMONG = 5
# How long a worker may have had no keeper among several masters.
_TAKEN_OVER_WITHIN_S = 30.0


@dataclass(slots=True)
class _Entry:
    worker: Worker
    events: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    shown_state: WorkerState = WorkerState.OFFLINE
    # Whether the present sample came live in this run of the agent, over this connection: only then can a later
    # message be told to be older.
    is_in_order: bool = False


class Fleet:
    """All workers. Safe to ask from any thread; what the workers say is taken in by one.

    Samples that other masters hand on are taken in by another.
    """

    def __init__(
        self, store: FleetStore, bus: EventBus, clock: Callable[[], float] = time.time, keeps: Keeps = keeps_all
    ) -> None:
        """Take which workers this master accounts for: of others nothing is written, and readings go no further."""
        self._keeps = keeps
        self._store = store
        self._bus = bus
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._unsaved: set[str] = set()
        self._lock = threading.Lock()

    def workers(self) -> list[Worker]:
        """Return all workers, sorted by id."""
        with self._lock:
            return [self._entries[worker_id].worker for worker_id in sorted(self._entries)]

    def worker(self, worker_id: str) -> Worker | None:
        """Return one worker, None where it is not known."""
        with self._lock:
            entry = self._entries.get(worker_id)
            return entry.worker if entry else None

    def labels(self, worker_id: str) -> Mapping[str, str]:
        """Return the worker's present labels, none where it has not told of any; the same object until they change."""
        with self._lock:
            entry = self._entries.get(worker_id)
            return NO_LABELS if entry is None or entry.worker.info is None else entry.worker.info.labels

    def events(self, worker_id: str) -> list[tuple[float, Event]]:
        """Return the worker's last 200 events with their receive times, oldest first."""
        with self._lock:
            entry = self._entries.get(worker_id)
            return list(entry.events) if entry else []

    def load(self) -> None:
        """Take the last known fleet from the store, with its ages. Raises StoreError."""
        workers, events = self._store.load()
        now = self._clock()
        with self._lock:
            for worker in workers:
                entry = _Entry(replace(worker, known_since=now))
                entry.events.extend(events.get(worker.id, ()))
                entry.shown_state = entry.worker.state(now)
                self._entries[worker.id] = entry

    def link_connected(self) -> None:
        """Take the next live sample of each worker as it comes: the order begins anew with the connection."""
        with self._lock:
            for entry in self._entries.values():
                entry.is_in_order = False

    def take_status(self, worker_id: str, status: Status, received: float, *, retained: bool) -> None:
        """Believe the status; a live `online` is a sign of life, and the start of a run of the agent."""
        with self._lock:
            entry = self._entry(worker_id)
            worker = entry.worker.told_status(status, received, retained=retained)
            if status == STATUS_ONLINE and not retained:
                entry.is_in_order = False
            self._change(entry, worker, received)
        self._bus.publish(WorkerChanged(worker_id))

    def take_info(self, worker_id: str, info: Info, received: float, *, retained: bool) -> None:
        """Keep the inventory."""
        with self._lock:
            entry = self._entry(worker_id)
            self._change(entry, entry.worker.told_info(info, received, retained=retained), received)
        self._bus.publish(WorkerChanged(worker_id))

    def take_sample(self, worker_id: str, metrics: Metrics, payload: bytes, received: float, *, retained: bool) -> bool:
        """Keep the sample if it is newer than the present one, and tell whether it was."""
        if not retained and self._keeps(worker_id):
            self._bus.publish(ReadingsArrived(worker_id, metrics, received))
        with self._lock:
            entry = self._entry(worker_id)
            if _is_old(entry, metrics, retained=retained):
                return False
            entry.is_in_order = not retained
            self._change(entry, entry.worker.told_sample(metrics, payload, received, retained=retained), received)
        self._bus.publish(WorkerChanged(worker_id))
        if not retained:
            self._bus.publish(SampleArrived(worker_id, payload, received))
        return True

    def take_event(self, worker_id: str, event: Event, received: float) -> None:
        """Keep what happened to the worker; one that is delivered again is passed over."""
        with self._lock:
            entry = self._entry(worker_id)
            if event in [earlier for _, earlier in list(entry.events)[-_REPEATS_AMONG:]]:
                return
            entry.events.append((received, event))
            self._change(entry, replace(entry.worker, last_seen=received), received)
        if self._keeps(worker_id):
            self._store.keep_event(worker_id, event, received)
        self._bus.publish(WorkerEventArrived(worker_id, event, received))
        self._bus.publish(WorkerChanged(worker_id))

    def reject(self, worker_id: str, reason: str) -> None:
        """Note that a payload of this worker was not valid."""
        with self._lock:
            entry = self._entry(worker_id)
            count = entry.worker.rejected_payloads + 1
            entry.worker = replace(entry.worker, rejected_payloads=count, last_rejection=reason)
        self._bus.publish(WorkerChanged(worker_id))

    def forget(self, worker_id: str) -> bool:
        """Remove the worker and what is kept of it; False where it is not known."""
        with self._lock:
            known = self._entries.pop(worker_id, None) is not None
            self._unsaved.discard(worker_id)
        self._store.forget(worker_id)
        if known:
            self._bus.publish(WorkerRemoved(worker_id))
        return known

    def tick(self, now: float) -> None:
        """Tell of workers whose state has changed with time alone; called about once a second."""
        changed = []
        with self._lock:
            for worker_id, entry in self._entries.items():
                state = entry.worker.state(now)
                if state is not entry.shown_state:
                    entry.shown_state = state
                    changed.append(worker_id)
        for worker_id in changed:
            self._bus.publish(WorkerChanged(worker_id))

    def save(self) -> None:
        """Hand workers that have changed since the last call to the writer."""
        with self._lock:
            workers = [self._entries[worker_id].worker for worker_id in self._unsaved]
            self._unsaved.clear()
        for worker in workers:
            if self._keeps(worker.id):
                self._store.keep_worker(worker)

    def release(self, is_lost: Keeps, *, is_late: bool) -> None:
        """Have written how these workers are: another master writes it from now on."""
        with self._lock:
            workers = [self._entries[worker_id].worker for worker_id in self._unsaved if is_lost(worker_id)]
            self._unsaved.difference_update([worker.id for worker in workers])
        for worker in workers if not is_late else ():
            self._store.keep_worker(worker)

    def take_over(self, is_gained: Keeps) -> None:
        """Write how these workers are, and what happened to them lately, which their keeper may not have come to."""
        since = self._clock() - _TAKEN_OVER_WITHIN_S
        with self._lock:
            gained = [entry for worker_id, entry in self._entries.items() if is_gained(worker_id)]
            self._unsaved.update(entry.worker.id for entry in gained)
            lately = [(entry.worker.id, *told) for entry in gained for told in entry.events if told[0] >= since]
        for worker_id, received, event in lately:
            self._store.keep_event(worker_id, event, received)

    def _entry(self, worker_id: str) -> _Entry:
        entry = self._entries.get(worker_id)
        if entry is None:
            entry = self._entries[worker_id] = _Entry(Worker(worker_id, known_since=self._clock()))
        return entry

    def _change(self, entry: _Entry, worker: Worker, now: float) -> None:
        entry.worker = worker
        entry.shown_state = worker.state(now)
        self._unsaved.add(worker.id)


def _is_old(entry: _Entry, metrics: Metrics, *, retained: bool) -> bool:
    """Tell a repeated or late sample: neither its time nor its number is newer than the present one's.

    Either alone may fall back: the number when the agent starts again, the time when the worker's clock is set right.
    """
    present = entry.worker.metrics
    if present is None:
        return False
    if retained:
        return metrics.time <= present.time
    return entry.is_in_order and metrics.time <= present.time and metrics.seq <= present.seq
