"""SQLite: a file in the data folder, in WAL mode, so that readers never wait for the writer.

Several processes (master, broker, command line) share the file; one of them writes at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError

from gpumon.errors import StartError
from master.store.transactions import is_to_write, writing

BUSY_TIMEOUT_MS = 5_000

# What a statement brings with it, so that trying again cannot help; all others are the file's own.
_OF_THE_ROW = (IntegrityError, DataError, InterfaceError, ProgrammingError, OverflowError, UnicodeError)
_PASSING = ("locked", "busy", "full", "readonly", "unable to open", "disk i/o")


class SqliteDatabase:
    """The database in this file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self._path)

    def identity(self) -> object | None:
        """Return what is another where another file has taken its place (a backup); None where there is none."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - a Path's stat, without building one each time
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def open(self) -> Engine:
        """Return an engine with gpumon's pragmas on every connection; opens nothing yet.

        Its errors do not show what was to be written, which may be a password's hash.
        """
        url = URL.create("sqlite", database=str(self._path))
        engine = create_engine(url, pool_size=5, max_overflow=20, hide_parameters=True)
        event.listen(engine, "connect", _configure_connection)
        event.listen(engine, "begin", _begin)
        return engine

    def make(self, engine: Engine) -> None:
        """Make the file where there is none (mode 0600). Raises StartError: when it cannot be."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StartError(
                f"database {self.name} cannot be opened ({error.strerror}): check the owner and mode of the file"
            ) from error
        # auto_vacuum is only taken before anything is in the file, and switching to WAL writes its first page.
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
                cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()

    @contextlib.contextmanager
    def migrating(self, engine: Engine) -> Iterator[Connection]:
        """Give a connection in a transaction that changes the schema; the data folder's lock is held by the caller."""
        with writing(engine) as connection:
            yield connection

    def is_of_the_row(self, error: Exception) -> bool:
        """Tell whether what was to be written is at fault, so that writing it again cannot help."""
        return isinstance(error, _OF_THE_ROW)

    def is_passing(self, error: Exception) -> bool:
        """Tell whether the same statement may succeed later."""
        reason = self.reason(error).lower()
        return not self.is_of_the_row(error) and any(word in reason for word in _PASSING)

    def is_unmade(self, _error: Exception) -> bool:
        """Tell whether no master has made the tables yet; that there is no file is seen before."""
        return False

    def reason(self, error: Exception) -> str:
        """Return the database's own words, without what was to be written."""
        return str(getattr(error, "orig", error))

    def problem(self, error: Exception) -> str:
        """Say in one line what is wrong with the database and what to do; nothing is ever deleted."""
        reason, path = self.reason(error), self._path
        if "malformed" in reason or "not a database" in reason:
            return (
                f"database {path} is damaged ({reason}): stop gpumon, keep a copy of the file, then repair it with "
                f"sqlite3 {path} .recover, put a backup in its place, or move it away to begin anew"
            )
        if "locked" in reason or "busy" in reason:
            return f"database {path} is locked by another program: end it (fuser {path} shows which) and try again"
        if "full" in reason:
            return f"database {path} cannot grow, the disk is full: free some space"
        if "readonly" in reason or "unable to open" in reason:
            return f"database {path} cannot be opened for writing ({reason}): check the owner and mode of its folder"
        return f"database {path}: {reason}"


def _configure_connection(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not where the driver guesses
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # One that read first and then wrote would fail without waiting when somebody else has written in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_to_write(connection) else "BEGIN")
