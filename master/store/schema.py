"""Making the database, and bringing an older one up to date with Alembic."""

from __future__ import annotations

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from gpumon.errors import StartError
from master.store.engine import DATABASE_ERRORS, database_problem, open_engine, writing

MIGRATIONS = Path(__file__).parent / "migrations"


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
        _upgrade(engine, database)
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


def _upgrade(engine: Engine, database: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StartError(
            f"database {database} was written by a newer gpumon (schema {current}): install that version or a later "
            "one, or use another folder with --data"
        )
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
