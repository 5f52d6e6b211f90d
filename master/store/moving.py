"""Moving what the data folder's SQLite file holds into an empty PostgreSQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import Connection, Engine, Table, func, insert, select

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, StartError
from gpumon.locks import alone
from master.prepare import prepare
from master.store.engine import DATABASE_ERRORS, Database, database_of, reading
from master.store.engine_sqlite import SqliteDatabase
from master.store.models import AuditRow, Base, table_of

ROWS_AT_ONCE = 500


class MoveError(GpumonError):
    """What cannot be moved; the message says why. Nothing has been changed."""

    see = "database.md#moving-the-data-over"


def move(data: DataFolder, told: Callable[[str, int], None]) -> None:
    """Copy every table in one transaction, and tell of each; the file stays as it is.

    No master may run on the folder meanwhile. Raises MoveError, StartError, SettingError.
    """
    if data.server is None:
        raise MoveError("where to move it has not been said: give database.url")
    source, target = SqliteDatabase(data.database), database_of(data)
    if source.identity() is None:
        raise MoveError(f"there is no database at {source.name}: nothing is to be moved")
    refusal = MoveError(f"a master runs on {data.root}: stop it first, so that nothing is written meanwhile")
    with alone(data.master_lock, refusal):
        prepare(DataFolder(data.root))
        prepare(data)
        _copy(source, target, told)


def _copy(source: Database, target: Database, told: Callable[[str, int], None]) -> None:
    engines = source.open(), target.open()
    try:
        _copy_all(*engines, target, told)
    except DATABASE_ERRORS as error:
        failed = source if isinstance(getattr(error, "orig", error), sqlite3.Error) else target
        raise StartError(f"nothing was moved: {failed.problem(error)}") from error
    finally:
        for engine in engines:
            engine.dispose()


def _copy_all(source: Engine, target: Engine, database: Database, told: Callable[[str, int], None]) -> None:
    tables = Base.metadata.sorted_tables  # those first that others refer to
    with reading(source) as old, database.migrating(target) as new:
        full = next((table.name for table in tables if new.execute(select(table).limit(1)).first() is not None), None)
        if full is not None:
            raise MoveError(f"database {database.name} is not empty, it holds {full}: give another database.url")
        for table in tables:
            told(table.name, _copy_table(old, new, table))
        seq = table_of(AuditRow).c.seq
        last = new.execute(select(func.max(seq))).scalar()
        if last is not None:  # the next line of the audit gets a number that is free
            new.execute(select(func.setval(func.pg_get_serial_sequence("audit", "seq"), last)))


def _copy_table(old: Connection, new: Connection, table: Table) -> int:
    copied = 0
    for rows in old.execute(select(table)).mappings().partitions(ROWS_AT_ONCE):
        new.execute(insert(table), [dict(row) for row in rows])
        copied += len(rows)
    return copied
