"""The database as those see it who only ask about accounts: opened when it is there, and again when it is another."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

from sqlalchemy import Connection, Engine

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.log import OncePer
from master.account_snapshot import AccountSnapshot
from master.store.engine import DATABASE_ERRORS, ChangeMark, database_problem, open_engine

logger = logging.getLogger(__name__)


class AccountsUnreadableError(GpumonError):
    """The accounts cannot be read now, or there are none yet; already told."""


class AccountReader:
    """Reads accounts for any thread; it makes no file and changes nothing."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._engine: Engine | None = None
        self._opened_file: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._mark: ChangeMark | None = None
        self._snapshot: AccountSnapshot | None = None
        self._snapshot_lock = threading.Lock()
        self._due = OncePer(60.0)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection to read with. Raises AccountsUnreadableError."""
        with self._telling(), self._present_engine().connect() as connection:
            yield connection

    def snapshot(self) -> AccountSnapshot:
        """Return all accounts as they are now; reads them only where the database has changed since the last time.

        Raises AccountsUnreadableError.
        """
        with self._telling(), self._snapshot_lock:
            engine = self._present_engine()
            if self._mark is None or self._mark.engine is not engine:
                self._forget_snapshot()
                self._mark = ChangeMark(engine)
            # Asked before reading: what is changed while it is read is read again the next time.
            if self._mark.has_changed() or self._snapshot is None:
                self._snapshot = None
                with engine.connect() as connection:
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
                self._opened_file = None

    def _forget_snapshot(self) -> None:
        if self._mark is not None:
            self._mark.close()
        self._mark = self._snapshot = None

    def _present_engine(self) -> Engine:
        """Return an engine on the file that is there now: it may have come late, or be a backup put in place."""
        try:
            status = os.stat(self._data.database)  # noqa: PTH116 - a Path's stat, without building one each time
        except OSError as error:
            raise AccountsUnreadableError(f"there is no database at {self._data.database}") from error
        file = (status.st_dev, status.st_ino)
        with self._lock:
            if self._engine is None or self._opened_file != file:
                if self._engine is not None:
                    self._engine.dispose()
                self._engine = open_engine(self._data.database)
                self._opened_file = file
            return self._engine

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_ERRORS as error:
            problem = database_problem(self._data.database, error)
            if self._due("database"):
                logger.error("accounts cannot be read: %s", problem)
            raise AccountsUnreadableError(problem) from error
