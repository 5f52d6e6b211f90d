"""Making the database, and seeing that it is of the newest schema."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from sqlalchemy import Engine, inspect, text

from gpumon.errors import StartError
from master.store.engine import DATABASE_ERRORS, database_problem, open_engine

# The revision of the newest migration in `master/store/migrations/versions`.
NEWEST = "0004"


def migrate(database: Path) -> None:
    """Create the database or bring it up to date, in one transaction; the caller holds the folder's lock.

    Raises StartError: when it cannot be opened, is damaged, or was written by a newer gpumon.
    """
    try:
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartError(
            f"database {database} cannot be opened ({error.strerror}): check the owner and mode of the file"
        ) from error
    engine = open_engine(database)
    try:
        _lay_out(engine)
        current = _revision(engine)
        if current != NEWEST:
            # Imported only where it is needed: Alembic takes a quarter of a second, at every start.
            importlib.import_module("master.store.upgrade").upgrade(engine, database, current)
    except DATABASE_ERRORS as error:
        raise StartError(database_problem(database, error)) from error
    finally:
        engine.dispose()


def _lay_out(engine: Engine) -> None:
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


def _revision(engine: Engine) -> str | None:
    """Return the revision that Alembic has noted in the database, None in a new one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision
