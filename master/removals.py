"""Forgetting workers that were removed, by whichever process: their rows, and their retained messages at the broker.

`Accounts.remove_worker` leaves word in the database, which the master reads about once a second; one that was not
running then does so when it runs again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import delete, select

from gpumon.link import Delivery, MqttLink
from gpumon.log import OncePer
from gpumon.topics import Channel, Topics
from master.accounts import leave_word
from master.audit import Actor
from master.fleet import Fleet
from master.store.engine import Store, StoreError
from master.store.models import RemovedWorkerRow

logger = logging.getLogger(__name__)

# By then the broker has closed the worker's connection, and what it still said, its will too, has come.
LINGER_S = 10.0
_RETAINED = (Channel.STATUS, Channel.INFO, Channel.METRICS)


class Removals:
    """The workers that are being forgotten; constructing it does nothing."""

    def __init__(self, store: Store, fleet: Fleet, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._fleet = fleet
        self._topics = topics
        self._clock = clock
        self._link: MqttLink | None = None
        self._begun: dict[str, float] = {}
        self._cards: dict[str, set[str]] = {}
        self._last_cleared: dict[str, list[Delivery]] = {}
        self._lock = threading.Lock()
        self._due = OncePer(60.0)

    def attach(self, link: MqttLink) -> None:
        """Clear retained messages over this link."""
        self._link = link

    def covers(self, worker_id: str) -> bool:
        """Tell whether this worker is being forgotten, so that what it still says does not bring it back."""
        return worker_id in self._begun

    def add(self, worker_id: str, by: Actor) -> None:
        """Have a worker forgotten that has no account. Raises StoreError."""
        with self._store.write() as connection:
            leave_word(connection, worker_id, by)

    def look(self) -> None:
        """Forget whom the database says; called about once a second."""
        try:
            with self._lock:
                self._look()
        except StoreError as error:
            if self._due("store"):
                logger.error("removed workers cannot be looked up: %s", error)

    def _look(self) -> None:
        with self._store.read() as connection:
            present = set(connection.execute(select(RemovedWorkerRow.worker_id)).scalars())
        for worker_id in self._begun.keys() - present:  # added again meanwhile
            self._end(worker_id)
        now = self._clock()
        for worker_id in present:
            if worker_id not in self._begun:
                self._begun[worker_id] = now
                self._forget(worker_id)
                logger.info("%s is removed", worker_id)
            elif worker_id in self._last_cleared:
                self._finish(worker_id)
            elif now - self._begun[worker_id] >= LINGER_S:
                self._last_cleared[worker_id] = self._forget(worker_id)

    def _finish(self, worker_id: str) -> None:
        deliveries = self._last_cleared[worker_id]
        if any(delivery.is_dropped for delivery in deliveries):
            del self._last_cleared[worker_id]  # once more
        elif all(delivery.is_acknowledged for delivery in deliveries):
            with self._store.write() as connection:
                connection.execute(delete(RemovedWorkerRow).where(RemovedWorkerRow.worker_id == worker_id))
            self._end(worker_id)

    def _forget(self, worker_id: str) -> list[Delivery]:
        cards = self._cards.setdefault(worker_id, set())
        if (worker := self._fleet.worker(worker_id)) is not None:
            cards.update(gpu.uuid for source in (worker.info, worker.metrics) if source for gpu in source.gpus)
        self._fleet.forget(worker_id)
        if self._link is None:
            return []
        # Home Assistant's devices go first: they read the others. The worker goes after the cards that refer to it.
        topics = [self._topics.discovery(worker_id, uuid) for uuid in (*sorted(cards), "")]
        topics += [self._topics.worker(worker_id, channel) for channel in _RETAINED]
        return [self._link.deliver(topic, b"", retain=True) for topic in topics]

    def _end(self, worker_id: str) -> None:
        self._begun.pop(worker_id, None)
        self._cards.pop(worker_id, None)
        self._last_cleared.pop(worker_id, None)
