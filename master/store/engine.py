"""Opening the database, and the two ways to use it: reading, and short writes of one's own.

SQLite in WAL mode: readers never wait for the writer, and several processes (master, broker, command line) share the
file. What the dialects do differently is kept to this file: pragmas, transactions, and the INSERT that knows
ON CONFLICT.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, IntegrityError

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, StartError

BUSY_TIMEOUT_MS = 5_000

# A transaction that begins with this option takes SQLite's write lock at once: one that read first and then wrote
# would fail without waiting when somebody else has written in between.
_WRITES = "gpumon_writes"

# What the database raises: wrapped by SQLAlchemy, or bare where a connection could not even be set up.
DATABASE_ERRORS = (DatabaseError, sqlite3.DatabaseError)


class StoreError(GpumonError):
    """The database cannot be read or written now; the message says why."""


def sqlite_url(path: Path) -> URL:
    """Return the SQLAlchemy URL of a database file."""
    return URL.create("sqlite", database=str(path))


def open_engine(path: Path) -> Engine:
    """Return an engine on an SQLite file, with gpumon's pragmas on every connection; opens nothing yet.

    Its errors do not show what was to be written, which may be a password's hash.
    """
    engine = create_engine(sqlite_url(path), pool_size=5, max_overflow=20, hide_parameters=True)
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _configure_connection(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not where the driver guesses
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection inside one write transaction, committed at the end; raises what SQLAlchemy raises."""
    with engine.connect() as connection:
        connection.execution_options(**{_WRITES: True})
        with connection.begin():
            yield connection


class ChangeMark:
    """Tells whether anybody has written to the database since it was last asked; keeps a connection of its own for it.

    SQLite's `PRAGMA data_version` changes when another connection has committed, whichever process that is in; asking
    costs microseconds. For other databases the answer is always yes. Not safe to share. Raises what SQLAlchemy raises.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._connection = engine.raw_connection()
        self._version: int | None = None

    def has_changed(self) -> bool:
        """Tell whether there may be something new; the first time there is."""
        if self.engine.dialect.name != "sqlite":
            return True
        cursor = self._connection.cursor()
        cursor.execute("PRAGMA data_version")
        row, before = cursor.fetchone(), self._version
        cursor.close()
        self._version = row[0] if row else None
        return self._version is None or self._version != before

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


def upsert(dialect: str, table: Table) -> Any:
    """Return an INSERT whose rows replace those of the same primary key."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    rest = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=rest)


def give_space_back(connection: Connection, pages: int) -> None:
    """Return up to this many free pages of 4 KiB from the file to the disk; PostgreSQL sees to that by itself."""
    if connection.dialect.name == "sqlite":
        free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
        for _ in range(min(free, pages)):
            # It frees a page a step, and Python's driver takes one step where no column is answered.
            connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")


class Store:
    """The master's database. Constructing it does nothing, `start()` opens what `prepare` has made."""

    def __init__(self, data: DataFolder) -> None:
        self.data = data
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine, opened on first use."""
        with self._lock:
            if self._engine is None:
                self._engine = open_engine(self.data.database)
            return self._engine

    def start(self) -> None:
        """Open the database. Raises StartError: when it is not there or cannot be read."""
        if not self.data.database.exists():
            raise StartError(f"there is no database at {self.data.database}: start gpumon master on this folder first")
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM workers")
        except DATABASE_ERRORS as error:
            raise StartError(database_problem(self.data.database, error)) from error

    def stop(self) -> None:
        """Close the database; safe to call twice."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection to read with. Raises StoreError: when the database does not answer."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except DATABASE_ERRORS as error:
            raise StoreError(database_problem(self.data.database, error)) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection inside one short write transaction. Raises StoreError: when it cannot be written now."""
        try:
            with writing(self.engine) as connection:
                yield connection
        except IntegrityError:
            raise
        except DATABASE_ERRORS as error:
            raise StoreError(database_problem(self.data.database, error)) from error


def database_problem(path: Path, error: Exception) -> str:
    """Say in one line what is wrong with the database and what to do; nothing is ever deleted."""
    reason = str(getattr(error, "orig", error))
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
