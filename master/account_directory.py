"""Who may log in: read from the data folder by whoever asks, the broker's process among them."""

from __future__ import annotations

import logging
import os
import threading

from sqlalchemy import Engine, select

from gpumon.datafolder import DataFolder
from gpumon.errors import SecretFileError
from gpumon.files import read_secret
from gpumon.log import OncePer
from gpumon.roles import Principal, Role
from master.passwords import Passwords, is_same, token_digest
from master.store.engine import DATABASE_ERRORS, database_problem, open_engine
from master.store.models import UserRow, WorkerTokenRow

logger = logging.getLogger(__name__)

MASTER = "master"


class AccountDirectory:
    """Answers who somebody is; reads only, from the database as it is at that moment, and may be asked by any thread.

    It works before there is a database: then `master`, whose secret is a file, is the only one known.
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._passwords = Passwords()
        self._engine: Engine | None = None
        self._opened_file: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._due = OncePer(60.0)

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password (which takes as long to say for both).

        A person takes an argon2 verification (about 50 ms and 64 MiB); a worker and the master well under 1 ms.
        """
        if username == MASTER:
            return Principal(MASTER, Role.MASTER) if self._is_master(password) else None
        user_hash, role, token_sha256 = self._find(username)
        if token_sha256 is not None:
            return Principal(username, Role.WORKER) if is_same(token_sha256, token_digest(password)) else None
        if not self._passwords.is_right(user_hash, password) or role is None:
            return None
        return Principal(username, role)

    def close(self) -> None:
        """Close the database; it is opened again when somebody asks."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
                self._opened_file = None

    def _is_master(self, password: str) -> bool:
        try:
            return is_same(read_secret(self._data.master_secret), password)
        except SecretFileError as error:
            if self._due("secret"):
                logger.warning("nobody can log in as master: %s", error)
            return False

    def _find(self, name: str) -> tuple[str | None, Role | None, str | None]:
        engine = self._present_engine()
        if engine is None:
            return None, None, None
        token = select(WorkerTokenRow.token_sha256).where(WorkerTokenRow.worker_id == name)
        user = select(UserRow.password_hash, UserRow.role).where(UserRow.name == name)
        try:
            with engine.connect() as connection:
                token_sha256 = connection.execute(token).scalar()
                row = None if token_sha256 is not None else connection.execute(user).one_or_none()
        except (*DATABASE_ERRORS, UnicodeEncodeError) as error:
            if not isinstance(error, UnicodeEncodeError) and self._due("database"):
                logger.error("accounts cannot be read: %s", database_problem(self._data.database, error))
            return None, None, None
        if row is None:
            return None, None, token_sha256
        try:
            return row.password_hash, Role(row.role), None
        except ValueError:
            return row.password_hash, None, None

    def _present_engine(self) -> Engine | None:
        """Return an engine on the file that is there now: it may have come late, or be a backup put in place."""
        try:
            status = os.stat(self._data.database)  # noqa: PTH116 - a Path's stat, without building one each time
        except OSError:
            return None
        file = (status.st_dev, status.st_ino)
        with self._lock:
            if self._engine is None or self._opened_file != file:
                if self._engine is not None:
                    self._engine.dispose()
                self._engine = open_engine(self._data.database)
                self._opened_file = file
            return self._engine
