"""The database as those see it who only ask about accounts: opened when it is there, and again when it is another."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from sqlalchemy import Connection, Engine

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.log import OncePer
from master.account_snapshot import AccountSnapshot
from master.store.engine import DATABASE_ERRORS, ChangeMark, database_of, reading

logger = logging.getLogger(__name__)

# A server that takes long to not answer is left alone for a while, so that not everybody who asks waits for it.
SLOW_S = 1.0
LEFT_ALONE_S = 2.0


class AccountsUnreadableError(GpumonError):
    """The accounts cannot be read now, or there are none yet; already told."""

    see = "troubleshooting.md#the-database-does-not-answer"


class AccountReader:
    """Reads accounts for any thread; it makes no database and changes nothing."""

    def __init__(self, data: DataFolder) -> None:
        self._database = database_of(data)
        self._engine: Engine | None = None
        self._opened: object | None = None
        self._lock = threading.Lock()
        self._mark: ChangeMark | None = None
        self._snapshot: AccountSnapshot | None = None
        self._snapshot_lock = threading.Lock()
        self._left_alone = (0.0, "")
        self._due = OncePer(60.0)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection to read with. Raises AccountsUnreadableError."""
        with self._telling(), reading(self._present_engine()) as connection:
            yield connection

    def snapshot(self) -> AccountSnapshot:
        """Return all accounts as they are now; reads them only where the database has changed since the last time.

        Raises AccountsUnreadableError.
        """
        with self._snapshot_lock, self._telling():
            engine = self._present_engine()
            # Asked before reading: what is changed while it is read is read again the next time.
            if self._has_changed(engine) or self._snapshot is None:
                self._snapshot = None
                with reading(engine) as connection:
                    self._snapshot = AccountSnapshot.read(connection)
            return self._snapshot

    def close(self) -> None:
        """Close the database; it is opened again when somebody asks."""
        with self._snapshot_lock:
            self._forget_snapshot()
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
                self._opened = None

    def _has_changed(self, engine: Engine) -> bool:
        if self._mark is None or self._mark.engine is not engine:
            self._forget_snapshot()
            self._mark = ChangeMark(engine)
        try:
            return self._mark.has_changed()
        except DATABASE_ERRORS:  # its connection may be an old one, of a server that has started again
            self._forget_snapshot()
            return True

    def _forget_snapshot(self) -> None:
        if self._mark is not None:
            self._mark.close()
        self._mark = self._snapshot = None

    def _present_engine(self) -> Engine:
        """Return an engine on the database that is there now: it may have come late, or be a backup put in place."""
        identity = self._database.identity()
        if identity is None:
            raise AccountsUnreadableError(f"there is no database at {self._database.name}")
        with self._lock:
            if self._engine is None or self._opened != identity:
                if self._engine is not None:
                    self._engine.dispose()
                self._engine = self._database.open()
                self._opened = identity
            return self._engine

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        begun = time.monotonic()
        until, problem = self._left_alone
        if begun < until:
            raise AccountsUnreadableError(problem)
        try:
            yield
        except DATABASE_ERRORS as error:
            problem = self._database.problem(error)
            now = time.monotonic()
            if now - begun > SLOW_S:
                self._left_alone = (now + LEFT_ALONE_S, problem)
            if not self._database.is_unmade(error) and self._due("database"):
                logger.error("accounts cannot be read: %s", problem)
            raise AccountsUnreadableError(problem) from error
