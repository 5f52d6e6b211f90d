"""The notifications as the database keeps them.

What a channel does next stands in its memory; the database follows, so that a restart goes on from there. A database
that cannot be written keeps nobody from being told: the rows wait here and are written as soon as it can be.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, delete, func, or_, select

from gpumon.log import OncePer
from master.store.engine import Store, StoreError, upsert
from master.store.models import AlertRow, NotificationRow, table_of
from master.store.writer import Writer
from master.telling.notifications import Notification

logger = logging.getLogger(__name__)

RETRY_S = 2.0
_DELETED_AT_ONCE = 500
_PK = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of notifications.

    `rows` are open or of alerts that were there lately; `ended`: the alerts that ended, and since when they fired; for
    each channel when it last sent, and when something was last put down for it.
    """

    rows: list[Notification]
    ended: dict[str, float]
    last_sent: dict[str, float]
    newest: dict[str, float]


class Outbox:
    """Keeps notifications. Constructing it does nothing; safe to use from any thread."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._unwritten: dict[_PK, Notification] = {}
        self._condition = threading.Condition()
        self._writing = threading.Lock()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._due = OncePer(60.0)

    def start(self) -> None:
        """Begin to write what is put down."""
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="telling-outbox", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 6.0) -> None:
        """Write what is left (one attempt) and end; safe to call twice."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def load(self, since: float) -> Kept:
        """Return what is open, what is of alerts that fire or have ended since then, and those. Raises StoreError."""
        lately = select(AlertRow.id).where(or_(AlertRow.ended.is_(None), AlertRow.ended >= since))
        is_open = NotificationRow.state.in_(("waiting", "sending"))
        is_new = NotificationRow.created >= since
        query = select(NotificationRow.__table__).where(or_(is_open, is_new, NotificationRow.alert_id.in_(lately)))
        sent = select(NotificationRow.channel, func.max(NotificationRow.ended)).where(NotificationRow.state == "sent")
        newest = select(NotificationRow.channel, func.max(NotificationRow.created)).group_by(NotificationRow.channel)
        ended = select(AlertRow.id, AlertRow.since).where(AlertRow.ended >= since, AlertRow.state == "resolved")
        with self._store.read() as connection:
            return Kept(
                rows=[Notification(**row._mapping) for row in connection.execute(query)],
                ended=_by_name(connection, ended.order_by(AlertRow.since)),
                last_sent=_by_name(connection, sent.group_by(NotificationRow.channel)),
                newest=_by_name(connection, newest),
            )

    def put_soon(self, rows: Iterable[Notification]) -> None:
        """Have rows written, in place of what was kept of them; never blocks."""
        with self._condition:
            self._unwritten.update({(row.alert_id, row.what, row.channel): row for row in rows})
            self._condition.notify_all()

    def put(self, rows: Iterable[Notification]) -> bool:
        """Write rows now, with all that waits to be written; False where they have to wait."""
        self.put_soon(rows)
        return self._write()

    def prune(self, before: float) -> None:
        """Delete what was put down before then, and is of no alert that still fires, some hundred at a time."""

        def job(connection: Connection) -> bool:
            fires = select(AlertRow.id).where(AlertRow.ended.is_(None))
            old = (
                select(NotificationRow.alert_id)
                .where(NotificationRow.created < before, NotificationRow.alert_id.not_in(fires))
                .distinct()
                .limit(_DELETED_AT_ONCE)
            )
            ids = list(connection.execute(old).scalars())
            is_old = NotificationRow.alert_id.in_(ids), NotificationRow.created < before
            connection.execute(delete(NotificationRow).where(*is_old))
            return len(ids) == _DELETED_AT_ONCE

        self._writer.run(job)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._unwritten or self._is_stopping)
                is_last = self._is_stopping
            if not self._write() and not is_last:
                with self._condition:
                    self._condition.wait_for(lambda: self._is_stopping, RETRY_S)
            if is_last:
                return

    def _write(self) -> bool:
        with self._writing:
            with self._condition:
                rows = dict(self._unwritten)
            if not rows:
                return True
            try:
                with self._store.write() as connection:
                    statement = upsert(connection.dialect.name, table_of(NotificationRow))
                    connection.execute(statement, [_values(row) for row in rows.values()])
            except StoreError as error:
                if self._due("write"):
                    logger.error("%s; alerts are told all the same, after a restart perhaps again", error)
                return False
            with self._condition:
                for key, row in rows.items():
                    if self._unwritten.get(key) is row:
                        del self._unwritten[key]
        return True


def _by_name(connection: Connection, query: Executable) -> dict[str, float]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _values(row: Notification) -> dict[str, Any]:
    return {column: getattr(row, column) for column in _COLUMNS}


_COLUMNS = tuple(Notification.__dataclass_fields__)
