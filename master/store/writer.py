"""The one writer: everything that the running master keeps goes through its thread.

Rows are put down from any thread and cost nothing there; the thread writes all that have come together in one
transaction. A row that is put twice before it is written is written once, as it was last. A database that cannot be
written (full disk, locked, a server that is gone) is told once a minute and tried again; rows and jobs wait meanwhile,
up to a bound.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table

from gpumon.log import OncePer
from master.store.engine import DATABASE_ERRORS, Store, upsert, writing
from master.store.models import Base, table_of

logger = logging.getLogger(__name__)

MAX_PENDING_ROWS = 100_000
MAX_BATCH_ROWS = 2_000
# Rows that come in a burst (a thousand results) share a transaction if the first of them waits this long.
LINGER_S = 0.02
RETRY_S = 2.0
MAX_PENDING_JOBS = 10_000

Row = Mapping[str, Any]
Job = Callable[[Connection], bool]
_Key = tuple[Table, tuple[Any, ...]]


class Writer:
    """Writes rows to the store in its own thread. Constructing it does nothing."""

    def __init__(self, store: Store, max_pending_rows: int = MAX_PENDING_ROWS, retry_s: float = RETRY_S) -> None:
        self.problem: str | None = None
        self.dropped_rows = 0
        self._store = store
        self._max_pending_rows = max_pending_rows
        self._retry_s = retry_s
        self._pending: dict[_Key, Row] = {}
        self._jobs: deque[Job] = deque()
        self._put = 0
        self._stored = 0
        self._stopping = False
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due = OncePer(60.0)
        self._order = {table: place for place, table in enumerate(Base.metadata.sorted_tables)}

    def start(self) -> None:
        """Begin to write."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Write what is pending (one attempt) and end the thread; safe to call twice."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
        if self._pending:
            logger.error("%d rows could not be written before the end: %s", len(self._pending), self.problem)

    @property
    def waiting_rows(self) -> int:
        """How many rows are not written yet, those that are just being written excepted."""
        return len(self._pending)

    def put(self, model: type[Base], row: Row) -> int:
        """Have a row written, in place of one with the same primary key, and return a number to ask `has_stored` with.

        Never blocks. While the database cannot be written and too many rows wait already, the row is dropped, counted
        and told.
        """
        table = table_of(model)
        return self._take((table, tuple(row[column.name] for column in table.primary_key.columns)), row)

    def append(self, model: type[Base], row: Row) -> int:
        """Have a row written that the database gives its primary key; otherwise as `put`."""
        with self._condition:
            return self._take((table_of(model), (f"appended {self._put}",)), row)

    def _take(self, key: _Key, row: Row) -> int:
        with self._condition:
            if key not in self._pending and len(self._pending) >= self._max_pending_rows:
                self.dropped_rows += 1
                if self._due("dropped"):
                    logger.error("%d rows wait to be written: newer ones are dropped", len(self._pending))
                return self._put
            self._pending[key] = row
            self._put += 1
            self._condition.notify_all()
            return self._put

    def run(self, job: Job) -> None:
        """Have `job` called with a connection in a transaction of its own, again and again until it returns False.

        One that fails by itself is told and dropped; one that the database cannot do now waits.
        """
        with self._condition:
            if len(self._jobs) >= MAX_PENDING_JOBS:
                if self._due("dropped jobs"):
                    logger.error("%d jobs wait for the database: newer ones are dropped", len(self._jobs))
                return
            self._jobs.append(job)
            self._condition.notify_all()

    def has_stored(self, number: int) -> bool:
        """Tell whether the row that `put` gave this number for has been written (or dropped as unusable)."""
        return self._stored >= number

    def wait_stored(self, number: int, timeout_s: float) -> bool:
        """Wait until `has_stored`; False where it was not within `timeout_s`."""
        with self._condition:
            return self._condition.wait_for(lambda: self._stored >= number, timeout_s)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything put so far is written; False where it was not within `timeout_s`."""
        with self._condition:
            number = self._put
            return self._condition.wait_for(lambda: self._stored >= number and not self._jobs, timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._pending or self._jobs or self._stopping)
                if self._stopping and not self._pending:
                    return
            if not self._stopping:
                time.sleep(LINGER_S)
            if self._wrote_all():
                continue
            with self._condition:
                if self._stopping:
                    return
                self._condition.wait_for(lambda: self._stopping, self._retry_s)

    def _wrote_all(self) -> bool:
        with self._condition:
            batch, self._pending = self._pending, {}
            number = self._put
        if not self._wrote_batch(batch):
            return False
        with self._condition:
            self._stored = number
            self._condition.notify_all()
        return self._did_one_job()

    def _wrote_batch(self, batch: dict[_Key, Row]) -> bool:
        """Write the rows, tables in the order of their references; put back those that were not written."""
        keys = sorted(batch, key=lambda key: self._order[key[0]])
        for start in range(0, len(keys), MAX_BATCH_ROWS):
            part = keys[start : start + MAX_BATCH_ROWS]
            if not self._attempt(partial(self._write, part, batch)):
                with self._condition:
                    self._pending = {**{key: batch[key] for key in keys[start:]}, **self._pending}
                return False
        return True

    def _write(self, keys: list[_Key], batch: dict[_Key, Row]) -> None:
        try:
            with writing(self._store.engine) as connection:
                _write_rows(connection, keys, batch)
        except Exception as error:
            if not self._store.database.is_of_the_row(error):
                raise
            self._write_one_by_one(keys, batch)

    def _write_one_by_one(self, keys: list[_Key], batch: dict[_Key, Row]) -> None:
        with writing(self._store.engine) as connection:
            for key in keys:
                try:
                    with connection.begin_nested():
                        _write_rows(connection, [key], batch)
                except Exception as error:  # noqa: PERF203 - each row stands for itself here
                    if not self._store.database.is_of_the_row(error):
                        raise
                    self.dropped_rows += 1
                    if self._due(f"row {key[0].name}"):
                        reason = self._store.database.reason(error)
                        logger.error("a row of %s could not be kept and is dropped: %s", key[0].name, reason)

    def _did_one_job(self) -> bool:
        with self._condition:
            job = self._jobs[0] if self._jobs else None
        if job is None:
            return True
        again = [False]

        def attempt() -> None:
            try:
                with writing(self._store.engine) as connection:
                    again[0] = job(connection)
            except DATABASE_ERRORS as error:
                again[0] = self._store.database.is_passing(error)
                raise

        done = self._attempt(attempt)
        with self._condition:
            if not again[0] or self._stopping:
                self._jobs.popleft()
            self._condition.notify_all()
        return done

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            is_known = isinstance(error, DATABASE_ERRORS)
            self.problem = self._store.database.problem(error) if is_known else repr(error)
            if self._due("problem"):
                logger.error("%s; the live view goes on, writing is tried again", self.problem, exc_info=not is_known)
            return False
        if self.problem is not None:
            logger.info("the database can be written again")
            self.problem = None
        return True


def _write_rows(connection: Connection, keys: list[_Key], batch: dict[_Key, Row]) -> None:
    by_table: dict[Table, list[Row]] = {}
    for key in keys:
        by_table.setdefault(key[0], []).append(batch[key])
    for table, rows in by_table.items():
        connection.execute(upsert(connection.dialect.name, table), rows)
