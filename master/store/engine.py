"""The database: the data folder's SQLite file, or the PostgreSQL server that the settings name; the same to its users.

What the two do differently is in `engine_sqlite` and `engine_postgres`; statements that differ are here.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, StartError
from master.store.engine_postgres import DatabasePasswordError, PostgresDatabase
from master.store.engine_sqlite import SqliteDatabase
from master.store.guards import condition_of, values_of
from master.store.transactions import reading, writing

__all__ = [
    "DATABASE_ERRORS",
    "ChangeMark",
    "Database",
    "Store",
    "StoreError",
    "database_of",
    "give_space_back",
    "reading",
    "upsert",
    "writing",
]

# What the database raises: wrapped by SQLAlchemy, or bare where a connection could not even be set up; no connection
# free, or no password to make one with.
DATABASE_ERRORS = (DBAPIError, PoolTimeoutError, sqlite3.DatabaseError, DatabasePasswordError)

Database: TypeAlias = SqliteDatabase | PostgresDatabase


class StoreError(GpumonError):
    """The database cannot be read or written now; the message says why."""

    see = "troubleshooting.md#the-database-does-not-answer"


def database_of(data: DataFolder) -> Database:
    """Return the database that goes with a data folder; opens nothing."""
    return SqliteDatabase(data.database) if data.server is None else PostgresDatabase(data.server)


class ChangeMark:
    """Tells whether anybody has written to the database since it was last asked; keeps a connection of its own for it.

    SQLite's `PRAGMA data_version` changes when another connection has committed, whichever process that is in; asking
    costs microseconds. PostgreSQL's snapshot is another when any transaction has begun to write or ended, in other
    databases of the same server too; asking costs a round trip. Not safe to share. Raises what SQLAlchemy raises.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        is_sqlite = engine.dialect.name == "sqlite"
        # Of SQLite's a bare one: in a transaction, its answer would not change.
        self._connection = engine.raw_connection() if is_sqlite else _without_transactions(engine)
        self._version: object = None

    def has_changed(self) -> bool:
        """Tell whether there may be something new; the first time there is."""
        before, self._version = self._version, self._present()
        return self._version is None or self._version != before

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def _present(self) -> object:
        if isinstance(self._connection, Connection):
            return self._connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar()
        cursor = self._connection.cursor()
        cursor.execute("PRAGMA data_version")
        row = cursor.fetchone()
        cursor.close()
        return row[0] if row else None


def _without_transactions(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


@functools.cache  # making one takes longer than running it
def upsert(dialect: str, table: Table) -> Any:
    """Return an INSERT whose rows replace those of the same primary key, as far as those give way."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_=values_of(table, insert.excluded),
        where=condition_of(table, insert.excluded),
    )


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
        self.database = database_of(data)
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine, opened on first use. Raises SettingError: when the database's driver is missing."""
        with self._lock:
            if self._engine is None:
                self._engine = self.database.open()
            return self._engine

    def start(self) -> None:
        """Open the database. Raises StartError: when it is not there or cannot be read."""
        if self.database.identity() is None:
            raise StartError(f"there is no database at {self.database.name}: start gpumon master on this folder first")
        try:
            with reading(self.engine) as connection:
                connection.exec_driver_sql("SELECT count(*) FROM workers")
        except DATABASE_ERRORS as error:
            raise StartError(self.database.problem(error)) from error

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
            with reading(self.engine) as connection:
                yield connection
        except DATABASE_ERRORS as error:
            raise StoreError(self.database.problem(error)) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection inside one short write transaction. Raises StoreError: when it cannot be written now."""
        try:
            with writing(self.engine) as connection:
                yield connection
        except IntegrityError:
            raise
        except DATABASE_ERRORS as error:
            raise StoreError(self.database.problem(error)) from error
