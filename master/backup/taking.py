"""Taking a backup while the master runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gpumon.datafolder import DataFolder
from gpumon.folder_swap import sync_folder
from gpumon.locks import FolderLock, locked
from gpumon.version import __version__
from master.audit import Actor, AuditTrail
from master.backup import archive, postgres
from master.backup.archive import BackupError, File, Manifest
from master.store.engine import DATABASE_ERRORS, Store, StoreError, database_of, reading
from master.store.schema import revision_of

logger = logging.getLogger(__name__)

_WORKPLACE = ".gpumon-backup"
# What the folder's processes hold while they run, and what was being written when one of them was killed.
_LOCKS = ("lock", ".lock")
# History is packed already: more effort makes it hardly smaller.
_COMPRESSION = 1
_FEW_BYTES = 64 * 1024


def take(data: DataFolder, target: Path, by: Actor, other_settings: Path | None = None) -> Manifest:
    """Write a backup to the file `target`, which must not be there, and return what is in it.

    The database is as it was at one moment; nobody who writes to it has to wait. `other_settings` is a settings file in
    use that lies outside the data folder. Raises BackupError, StartError, SettingError.
    """
    if target.exists():
        raise BackupError(f"{target} is there already: give another name, or a folder")
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.parent}: make it first")
    if database_of(data).identity() is None or not data.master_secret.exists():
        raise BackupError(f"no master keeps its data in {data.root}: give its folder with --data")
    _note(data, by, target)
    try:
        with _workplace(target.parent) as workplace:
            manifest = _written(data, workplace, other_settings)
            # A link, since renaming would put it in the place of a file that has come meanwhile.
            os.link(workplace / "archive", target)
            sync_folder(target.parent)
    except FileExistsError as error:
        raise BackupError(f"{target} is there already: give another name, or a folder") from error
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from error
    return manifest


def _note(data: DataFolder, by: Actor, target: Path) -> None:
    store = Store(data)
    try:
        AuditTrail(store).add("backup.taken", who=by.who, origin=by.origin, subject=str(target.absolute()))
    except StoreError as error:  # a copy is wanted all the more where the disk is full
        logger.warning("the audit does not tell of this backup: %s", error)
    finally:
        store.stop()


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside the backup; what one that was killed has left there is deleted."""
    workplace = folder / _WORKPLACE
    workplace.mkdir(mode=0o700, exist_ok=True)
    lock = FolderLock(workplace / "lock")
    if not lock.take(wait=False):
        raise BackupError(f"another backup is being written into {folder}: wait for it, or give another folder")
    try:
        for path in workplace.iterdir():
            if path.name != "lock":
                path.unlink()
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        lock.free()


def _written(data: DataFolder, workplace: Path, other_settings: Path | None) -> Manifest:
    copy = workplace / "database"
    if data.server is None:
        schema = _copy_sqlite(data.database, copy)
    else:
        schema = _schema(data)
        postgres.dump(data.server, copy)
    contents = dict(_contents(data.root))
    if other_settings is not None:
        contents[archive.OTHER_SETTINGS] = (other_settings.read_bytes(), 0o600)
    database_name = archive.SQLITE_FILE if data.server is None else archive.POSTGRES_DUMP
    manifest = Manifest(
        format=archive.FORMAT,
        gpumon=__version__,
        schema=schema,
        database="sqlite" if data.server is None else "postgresql",
        created=time.time(),
        files={
            database_name: File(copy.stat().st_size, _sha256(copy)),
            **{
                name: File(len(content), hashlib.sha256(content).hexdigest()) for name, (content, _) in contents.items()
            },
        },
    )
    descriptor = os.open(workplace / "archive", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_COMPRESSION) as tar:
            _add(tar, archive.MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)), 0o600)
            with copy.open("rb") as source:
                tar.addfile(_member(database_name, copy.stat().st_size, 0o600), source)
            for name, (content, mode) in contents.items():
                _add(tar, name, content, mode)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _copy_sqlite(source: Path, target: Path) -> str:
    """Copy the database as it is at one moment, see that the copy is whole, and return its schema's revision."""
    try:
        # In one step: its readers and its writer do not notice, and it need not begin anew after a write.
        with (
            contextlib.closing(sqlite3.connect(f"file:{source.absolute()}?mode=rw", uri=True)) as old,
            contextlib.closing(sqlite3.connect(target)) as new,
        ):
            new.execute("PRAGMA synchronous=OFF")  # it is of no use before the whole backup is
            old.backup(new)
            found = new.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")
            revision = new.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(database_of(DataFolder(source.parent)).problem(error)) from error
    return str(revision[0])


def _schema(data: DataFolder) -> str:
    database = database_of(data)
    engine = database.open()
    try:
        with reading(engine) as connection:
            revision = revision_of(connection)
    except DATABASE_ERRORS as error:
        raise BackupError(database.problem(error)) from error
    finally:
        engine.dispose()
    if revision is None:
        raise BackupError(f"there is nothing in {database.name}: start gpumon master on it first")
    return revision


def _contents(root: Path) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Give the files of the data folder beside the database, with what they hold and their mode."""
    for name in archive.KEPT:
        path = root / name
        if path.is_file():
            yield name, _content(path)
        elif path.is_dir():
            # A certificate and its key are renewed together.
            with locked(path / ".lock") if name == "tls" else contextlib.nullcontext():
                for file in sorted(path.rglob("*")):
                    if file.is_file() and file.name not in _LOCKS:
                        with contextlib.suppress(FileNotFoundError):  # one that was being replaced
                            yield str(file.relative_to(root)), _content(file)


def _content(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mode & 0o777


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    tar.addfile(_member(name, len(content), mode), io.BytesIO(content))


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, mode, int(time.time())
    return member


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_FEW_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
