"""Bringing a database up to date with Alembic; loaded only where one is not."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gpumon.errors import StartError

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, database: str, current: str | None, target: str = "head") -> None:
    """Apply the migrations that follow the revision `current` (None: all), in the transaction of this connection.

    Raises StartError: when the database was written by a newer gpumon.
    """
    config = configuration()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StartError(
            f"database {database} was written by a newer gpumon (schema {current}): install that version or a later "
            "one, or use another database"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def configuration() -> Config:
    """Return where Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
