"""Making the database, and seeing that it is of the newest schema."""

from __future__ import annotations

import importlib

from sqlalchemy import Connection, inspect, text

from gpumon.errors import StartError
from master.store.engine import DATABASE_ERRORS, Database, reading

# The revision of the newest migration in `master/store/migrations/versions`.
NEWEST = "0006"


def migrate(database: Database) -> None:
    """Create the database or bring it up to date, in one transaction.

    For SQLite the caller holds the folder's lock; on PostgreSQL one of several masters does it while the others wait.
    Raises StartError: when it cannot be opened, is damaged, or was written by a newer gpumon; SettingError.
    """
    engine = database.open()
    try:
        database.make(engine)
        with reading(engine) as connection:
            current = revision_of(connection)
        if current == NEWEST:
            return
        with database.migrating(engine) as connection:
            current = revision_of(connection)
            if current != NEWEST:  # another master may have done it meanwhile
                # Imported only where it is needed: Alembic takes a quarter of a second, at every start.
                importlib.import_module("master.store.upgrade").upgrade(connection, database.name, current)
    except DATABASE_ERRORS as error:
        raise StartError(database.problem(error)) from error
    finally:
        engine.dispose()


def revision_of(connection: Connection) -> str | None:
    """Return the revision that Alembic has noted in the database, None in a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision
