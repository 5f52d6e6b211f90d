"""PostgreSQL's own programs for backups, run as `database.url` says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import inspect

from gpumon.database_address import DatabaseAddress
from master.backup.archive import BackupError
from master.store.engine import Database, reading


def dump(server: DatabaseAddress, target: Path) -> None:
    """Write all of the database into a file, as it is at one moment. Raises BackupError."""
    _run("pg_dump", server, "--format=custom", f"--file={target}", f"--dbname={server.url}")


def load(server: DatabaseAddress, source: Path) -> None:
    """Fill the empty database with what a dump holds, all of it or nothing. Raises BackupError."""
    how = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", server, *how, f"--dbname={server.url}", str(source))


def check_empty(database: Database) -> None:
    """See that there is no table in the database. Raises BackupError, and what SQLAlchemy raises."""
    engine = database.open()
    try:
        with reading(engine) as connection:
            found = inspect(connection).get_table_names()
    finally:
        engine.dispose()
    if found:
        raise BackupError(
            f"database {database.name} is not empty: make another with createdb, and name it in database.url"
        )


def _run(program: str, server: DatabaseAddress, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"{program} is not installed: it comes with PostgreSQL's client (postgresql-client)")
    secret = server.secret()
    environment = {**os.environ, **({"PGPASSWORD": secret} if secret else {})}
    ended = subprocess.run(
        [found, "--no-password", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or ["it did not say why"]
        raise BackupError(f"database {server} could not be read or written: {said[0]}")
