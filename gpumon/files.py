"""Files that hold secrets or must never be half written."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import secrets
import stat
import tempfile
from pathlib import Path

from gpumon.errors import SecretFileError, SettingError, StartError

logger = logging.getLogger(__name__)

LARGEST_SECRET_BYTES = 1024 * 1024


def make_folder(folder: Path) -> Path:
    """Create a data folder (mode 0700) with its parents and return it; one that others may write is warned about.

    Raises StartError: when it cannot be created or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            logger.warning("every user may replace what is in the folder %s: run chmod 700 %s", folder, folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(
            f"data folder {folder} cannot be written ({error.strerror}): give another with --data, or change its owner"
        ) from error
    return folder


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file's content as a whole: a reader, or a crash, sees the old or the new one, never a part."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def read_secret(path: Path) -> str:
    """Return the one secret that a file holds.

    Raises SecretFileError: when it is missing or empty, may be read by others, or belongs to another user than this
    one and root.
    """
    try:
        with path.open("rb") as file:
            # Of the file that is open: the name may stand for another one a moment later.
            _check_private(path, os.fstat(file.fileno()))
            content = file.read(LARGEST_SECRET_BYTES + 1)
        text = content.decode().strip()
    except OSError as error:
        raise SecretFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} cannot be read: it is not text") from None  # its text shows what was read
    if not text or len(content) > LARGEST_SECRET_BYTES:
        raise SecretFileError(f"{path} is {'too large' if text else 'empty'}: it should hold one secret")
    return text


def check_trusted_file(path: Path) -> None:
    """See that not everybody may write a file that is trusted, such as a CA certificate; a missing one passes.

    Raises SettingError: when everybody may.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o002:
            raise SettingError(f"every user may change {path}, which is to be trusted: run chmod 644 {path}")


def write_secret(path: Path, secret: str) -> None:
    """Keep a secret in a file of mode 0600."""
    write_atomically(path, secret.encode() + b"\n", mode=0o600)


def ensure_secret(path: Path) -> str:
    """Return the secret in `path`, made at random where there is none yet; safe when two processes ask at once."""
    if not path.exists():
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
        Path(name).unlink()
    return read_secret(path)


def _check_private(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise SecretFileError(f"{path} holds a secret and others may read it: run chmod 600 {path}")
    if status.st_uid in (0, os.geteuid()):
        return
    owner, myself = _user_name(status.st_uid), _user_name(os.geteuid())
    # Files that root writes beside it, the service that runs as its owner could not read.
    to_do = f"do this as {owner}: sudo -u {owner} ..." if os.geteuid() == 0 else f"run chown {myself} {path}"
    raise SecretFileError(f"{path} holds a secret and belongs to {owner}, who may read it: {to_do}")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
