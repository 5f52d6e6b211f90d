"""Putting a backup back: checked, brought up to date, and then in place of what was there, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpumon import folder_swap
from gpumon.datafolder import DataFolder
from gpumon.locks import alone, locked
from master.audit import Actor, AuditTrail
from master.backup import archive, postgres
from master.backup.archive import BackupError, Manifest, Reader, reading_backup
from master.store.engine import DATABASE_ERRORS, Store, database_of
from master.store.schema import NEWEST, migrate

_DATABASE_FILES = tuple(f"{archive.SQLITE_FILE}{end}" for end in ("", "-wal", "-shm", "-journal"))


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and where that is now which was there before, if anything was."""

    manifest: Manifest
    before: Path | None
    other_settings: Path | None


def check(path: Path) -> Manifest:
    """Read a backup to its end and return what it holds. Raises BackupError: when it is damaged."""
    with reading_backup(path) as backup:
        backup.read_all(None)
        return backup.manifest


def restore(path: Path, data: DataFolder, by: Actor) -> Restored:
    """Put a backup into a data folder on which no master runs; nothing that was there is deleted.

    With `database.url`, into that database, which must be empty. Raises BackupError, StartError, SettingError: what was
    there before is as it was.
    """
    refusal = BackupError(f"a master runs on {data.root}: stop it first")
    with reading_backup(path) as backup, alone(data.master_lock, refusal):
        _check_fits(backup, path, data)
        new = folder_swap.lay_out(data.root)
        try:
            backup.read_all(new)
            _fill_database(data, new, by, path)
            other = new / archive.OTHER_SETTINGS
            has_other_settings = other.exists()
            _belong_to_the_folders_owner(data.root, new)
        except BaseException:
            folder_swap.give_up(data.root)
            raise
        before = folder_swap.swap(data.root, (*archive.KEPT, archive.OTHER_SETTINGS, *_DATABASE_FILES))
        kept_settings = data.root / archive.OTHER_SETTINGS if has_other_settings else None
        return Restored(backup.manifest, before, kept_settings)


def _check_fits(backup: Reader, path: Path, data: DataFolder) -> None:
    manifest = backup.manifest
    if manifest.schema > NEWEST:
        raise BackupError(
            f"{path} was made by a newer gpumon ({manifest.gpumon}, schema {manifest.schema}): install that version"
        )
    if manifest.database == "postgresql" and data.server is None:
        raise BackupError(f"{path} holds a PostgreSQL database: name an empty one in database.url")
    if manifest.database == "sqlite" and data.server is not None:
        raise BackupError(
            f"{path} holds an SQLite database: restore it without database.url, then gpumon move-database with it"
        )
    free = shutil.disk_usage(data.root).free
    if free < manifest.size:
        raise BackupError(
            f"{path} needs {manifest.size / 1e6:.0f} MB in {data.root}, where {free / 1e6:.0f} MB are free: make room"
        )
    if data.server is not None:
        with _database_problems(data):
            postgres.check_empty(database_of(data))


def _fill_database(data: DataFolder, new: Path, by: Actor, path: Path) -> None:
    """Have the database at the newest schema and telling of this in its audit, before anything is in its place."""
    filled = DataFolder(new) if data.server is None else data
    if data.server is not None:
        postgres.load(data.server, new / archive.POSTGRES_DUMP)
        (new / archive.POSTGRES_DUMP).unlink()
    migrate(database_of(filled))
    store = Store(filled)
    try:
        AuditTrail(store).add("backup.restored", who=by.who, origin=by.origin, subject=str(path.absolute()))
    finally:
        store.stop()


@contextlib.contextmanager
def _database_problems(data: DataFolder) -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        raise BackupError(database_of(data).problem(error)) from error


def _belong_to_the_folders_owner(root: Path, new: Path) -> None:
    """Write everything to the disk; where root restores for a service's user, it is that user's."""
    owner = root.stat()
    for folder, _, names in os.walk(new):
        for name in names:
            with (Path(folder) / name).open("rb") as file:
                os.fsync(file.fileno())
        folder_swap.sync_folder(Path(folder))
    if os.geteuid() == 0 and owner.st_uid != 0:
        with locked(DataFolder(root).prepare_lock):  # so that it is there, for its owner to open
            pass
        for each in (*root.glob(".*.lock"), new, *new.rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid)
