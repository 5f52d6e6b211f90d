"""Making a data folder fit for a master: the folder, the database at its newest schema, the secrets."""

from __future__ import annotations

import secrets
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret, make_folder, write_atomically
from gpumon.locks import locked
from master.store.engine import database_of
from master.store.schema import migrate


def prepare(data: DataFolder) -> None:
    """Create the data folder with its database, or bring it up to date; two processes may do so at once.

    Raises StartError: when the folder cannot be written, or the database does not answer, is damaged or of a newer
    version; SettingError: when its driver is missing.
    """
    make_folder(data.root)
    with locked(data.prepare_lock):
        migrate(database_of(data))
        ensure_secret(data.master_secret)
        if not _instance_file(data).exists():
            write_atomically(_instance_file(data), secrets.token_hex(6).encode())


def instance_of(data: DataFolder) -> str:
    """Return the id of this data folder's master, made once at random; the folder has been prepared."""
    return _instance_file(data).read_text().strip()


def _instance_file(data: DataFolder) -> Path:
    return data.root / "instance"
