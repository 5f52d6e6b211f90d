"""Files that hold secrets or must never be half written."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from gpumon.errors import SecretFileError, StartError


def make_folder(folder: Path) -> Path:
    """Create a data folder (mode 0700) with its parents and return it.

    Raises StartError: when it cannot be created or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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

    Raises SecretFileError: when it is missing, empty, or readable by others than its owner.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretFileError(f"{path} cannot be read: {reason}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise SecretFileError(f"{path} holds a secret and others may read it: run chmod 600 {path}")
    if not content:
        raise SecretFileError(f"{path} is empty: it should hold one secret")
    return content


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
