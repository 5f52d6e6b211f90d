"""What is in a backup: a `.tar.gz` whose first member, the manifest, names every other one with its checksum."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import msgspec

from gpumon.errors import GpumonError

FORMAT = 1
MANIFEST = "manifest.json"
# The database: SQLite's file under its own name, or what pg_dump has made of PostgreSQL's.
SQLITE_FILE = "gpumon.db"
POSTGRES_DUMP = "gpumon.pgdump"
# The settings file in use, where it lies outside the data folder.
OTHER_SETTINGS = "settings-outside.toml"
# What a master's data folder holds beside the database; folders with all that is in them.
KEPT = (
    "gpumon.toml",
    "master.secret",
    "session.secret",
    "first-login",
    "instance",
    "worker-id",
    "reach.json",
    "tls",
    "tokens",
    "agent",
)
LARGEST_MANIFEST_BYTES = 16 * 1024 * 1024
_AT_ONCE_BYTES = 1024 * 1024
_DAMAGES = (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeError)


class BackupError(GpumonError):
    """A backup that cannot be taken or used; the message says why. Nothing has been changed."""

    see = "operations.md#backup"


class File(msgspec.Struct, frozen=True):
    """A member of the archive."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds, by which gpumon it was made, and when (seconds since 1970)."""

    format: int
    gpumon: str
    schema: str
    database: Literal["sqlite", "postgresql"]
    created: float
    files: dict[str, File]

    @property
    def size(self) -> int:
        """How many bytes it holds, not compressed."""
        return sum(file.size for file in self.files.values())


class Reader:
    """A backup that is being read; nothing in it is believed before it was checked."""

    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._path = path
        self._archive = archive
        self.manifest = self._manifest()

    def read_all(self, into: Path | None) -> None:
        """Check every file, and write it below the folder `into` where one is given. Raises BackupError."""
        missing = dict(self.manifest.files)
        with _told_as_damage(self._path):
            while (member := self._archive.next()) is not None:
                expected = missing.pop(member.name, None)
                if expected is None or not member.isreg() or member.size != expected.size:
                    raise self._damaged(f"{member.name!r} is not as its manifest says")
                with _opened(self._archive, member) as source:
                    found = _copied(source, member, into)
                if found != expected.sha256:
                    raise self._damaged(f"the checksum of {member.name} is another one")
            self._read_checksum()
        if missing:
            raise self._damaged(f"{min(missing)} is missing")

    def _manifest(self) -> Manifest:
        with _told_as_damage(self._path):
            first = self._archive.next()
            if first is None or first.name != MANIFEST or not first.isreg() or first.size > LARGEST_MANIFEST_BYTES:
                raise BackupError(f"{self._path} is not a backup of gpumon: it does not begin with a manifest")
            with _opened(self._archive, first) as source:
                content = source.read()
        try:
            version = msgspec.json.decode(content, type=dict[str, object]).get("format")
            if isinstance(version, int) and version > FORMAT:
                raise BackupError(f"{self._path} was made by a newer gpumon: install that version or a later one")
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise self._damaged(f"its manifest cannot be read: {error}") from error
        foreign = next((name for name in manifest.files if not _belongs(name)), None)
        if foreign is not None:
            raise self._damaged(f"{foreign!r} does not belong into a backup")
        return manifest

    def _read_checksum(self) -> None:
        """Have gzip compare its own checksum, which covers the manifest as well."""
        rest = self._archive.fileobj
        while rest is not None and rest.read(_AT_ONCE_BYTES):
            pass

    def _damaged(self, reason: str) -> BackupError:
        return BackupError(f"the backup {self._path} is damaged ({reason}): take another one")


@contextmanager
def reading_backup(path: Path) -> Iterator[Reader]:
    """Open a backup and read its manifest. Raises BackupError."""
    if not path.is_file():
        raise BackupError(f"there is no backup {path}")
    with _told_as_damage(path), tarfile.open(path, "r:gz") as archive:
        yield Reader(path, archive)


@contextmanager
def _told_as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise BackupError(f"{error.filename} cannot be used: {error.strerror}") from error
    except _DAMAGES as error:
        raise BackupError(f"the backup {path} is damaged ({error}): take another one") from error


@contextmanager
def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[IO[bytes]]:
    source = archive.extractfile(member)
    assert source is not None  # noqa: S101 - it is of a regular file  # nosec B101
    with source:
        yield source


def _copied(source: IO[bytes], member: tarfile.TarInfo, into: Path | None) -> str:
    """Read a member to its end, write it where that is wanted, and return its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    if into is None:
        while chunk := source.read(_AT_ONCE_BYTES):
            digest.update(chunk)
        return digest.hexdigest()
    target = into / member.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as file:
        target.chmod(0o600 | (member.mode & 0o144))
        while chunk := source.read(_AT_ONCE_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _belongs(name: str) -> bool:
    """Tell whether a name is of a file that a backup may put into a data folder, and nowhere else."""
    parts = PurePosixPath(name).parts
    if "/".join(parts) != name or ".." in parts or "\0" in name or not parts:
        return False
    return parts[0] in KEPT or name in (SQLITE_FILE, POSTGRES_DUMP, OTHER_SETTINGS)
