"""What is kept of alerts: pending, firing and over, each as it was last."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, or_, select

from master.alerts.records import Alert, Severity
from master.store.engine import Store
from master.store.models import AlertRow
from master.store.writer import Writer

logger = logging.getLogger(__name__)

PENDING = "pending"
_DELETED_AT_ONCE = 500

_decoder = msgspec.json.Decoder(Alert)


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """An alert as it was kept; one that is pending has not fired, `alert.since` is from when on it has lasted."""

    alert: Alert
    is_pending: bool


class AlertStore:
    """Keeps alerts through the writer, and reads them."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def open_alerts(self) -> list[KeptAlert]:
        """Return what was pending or firing, oldest first. Raises StoreError."""
        query = select(AlertRow.id, AlertRow.state, AlertRow.alert).where(AlertRow.ended.is_(None))
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(AlertRow.since, AlertRow.id)).all()
        kept = [(row, _decoded(row)) for row in rows]
        return [KeptAlert(alert, row.state == PENDING) for row, alert in kept if alert is not None]

    def keep(self, alert: Alert, *, is_pending: bool = False) -> int:
        """Keep an alert as it is now; the number tells `has_stored` which one is meant."""
        return self._writer.put(AlertRow, _row(alert, is_pending=is_pending))

    def has_stored(self, number: int) -> bool:
        """Tell whether what `keep` gave this number for has been written."""
        return self._writer.has_stored(number)

    def drop(self, ids: Iterable[str]) -> None:
        """Delete what was pending and has come to nothing."""
        left = list(ids)
        if not left:
            return

        def job(connection: Connection) -> bool:
            some = [left.pop() for _ in range(min(len(left), _DELETED_AT_ONCE))]
            connection.execute(delete(AlertRow).where(AlertRow.id.in_(some), AlertRow.state == PENDING))
            return bool(left)

        self._writer.run(job)

    def alert(self, alert_id: str) -> Alert | None:
        """Return a kept alert that has fired. Raises StoreError."""
        query = select(AlertRow.id, AlertRow.alert).where(AlertRow.id == alert_id, AlertRow.state != PENDING)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return _decoded(row) if row is not None else None

    def past(
        self,
        limit: int,
        before: Alert | None,
        *,
        rule: str | None = None,
        worker_id: str | None = None,
        gpu: str | None = None,
        severity: Severity | None = None,
    ) -> list[Alert]:
        """Return alerts that are over, by when they fired, newest first, those before `before`. Raises StoreError."""
        query = select(AlertRow.id, AlertRow.alert).where(AlertRow.state == "resolved")
        for column, value in ((AlertRow.rule, rule), (AlertRow.worker_id, worker_id), (AlertRow.gpu, gpu)):
            if value is not None:
                query = query.where(column == value)
        if severity is not None:
            query = query.where(AlertRow.severity == severity.value)
        if before is not None:
            same = and_(AlertRow.since == before.since, AlertRow.id < before.id)
            query = query.where(or_(AlertRow.since < before.since, same))
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(AlertRow.since.desc(), AlertRow.id.desc()).limit(limit)).all()
        return [alert for row in rows if (alert := _decoded(row)) is not None]

    def prune(self, before: float) -> None:
        """Delete what has been over since `before` (seconds since 1970), some hundred at a time."""

        def job(connection: Connection) -> bool:
            old = select(AlertRow.id).where(AlertRow.ended < before).limit(_DELETED_AT_ONCE)
            return connection.execute(delete(AlertRow).where(AlertRow.id.in_(old))).rowcount == _DELETED_AT_ONCE

        self._writer.run(job)


def _row(alert: Alert, *, is_pending: bool = False) -> dict[str, Any]:
    return {
        "id": alert.id,
        "rule": alert.rule,
        "worker_id": alert.worker_id,
        "gpu": alert.gpu,
        "severity": alert.severity.value,
        "state": PENDING if is_pending else alert.state,
        "since": alert.since,
        "ended": alert.until,
        # Whether it is silenced is found out anew each time.
        "alert": msgspec.json.encode(replace(alert, silenced=False)).decode(),
    }


def _decoded(row: Any) -> Alert | None:
    try:
        return _decoder.decode(row.alert)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("what was kept of alert %s cannot be read any more and is passed over: %s", row.id, error)
        return None
