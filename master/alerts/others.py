"""Alerts of the workers that other masters keep: those judge them, this one shows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from master.alerts.alert_store import AlertStore
from master.alerts.records import Alert
from master.keeping import Keeps


class OthersAlerts:
    """What fires of workers that other masters keep, as they have told it or the database has it. Safe to share."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self._firing: dict[str, Alert] = {}
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def firing(self) -> list[Alert]:
        """Return what fires."""
        with self._lock:
            return list(self._firing.values())

    def find(self, alert_id: str) -> Alert | None:
        """Return one that fires, None where it does not."""
        with self._lock:
            return self._firing.get(alert_id)

    def take(self, alert: Alert) -> None:
        """Take that an alert is as its keeper tells."""
        with self._lock:
            self._told[alert.id] = time.monotonic()
            if alert.is_firing:
                self._firing[alert.id] = alert
            else:
                self._firing.pop(alert.id, None)

    def let_go(self, are_ours: Keeps) -> None:
        """Let go of those of workers that this master keeps from now on."""
        with self._lock:
            for alert in [alert for alert in self._firing.values() if are_ours(alert.worker_id)]:
                del self._firing[alert.id]

    def compare(self, keeps: Keeps) -> Iterator[Alert]:
        """Take what the database has, and yield what nobody has told of: what fires, is over, or is marked otherwise.

        Its text and value are only in what is told. Raises StoreError.
        """
        begun = time.monotonic()
        kept = {item.alert.id: item.alert for item in self._store.open_alerts() if not item.is_pending}
        with self._lock:
            self._told = {alert_id: at for alert_id, at in self._told.items() if alert_id in kept or at >= begun - 1.0}
            gone = [name for name in self._firing if name not in kept and self._told.get(name, 0.0) < begun]
            for name in gone:
                del self._firing[name]
            changed = []
            for alert in kept.values():
                before = self._firing.get(alert.id)
                is_told_later = self._told.get(alert.id, 0.0) >= begun - 1.0
                if (
                    keeps(alert.worker_id)
                    or is_told_later
                    or (before is not None and _standing(before) == _standing(alert))
                ):
                    continue
                self._firing[alert.id] = alert
                changed.append(alert)
        yield from changed
        for name in gone:
            ended = self._store.alert(name)
            if ended is not None:
                yield ended


def _standing(alert: Alert) -> tuple[object, ...]:
    return alert.state, alert.count, alert.acknowledged_by, alert.acknowledged_at
