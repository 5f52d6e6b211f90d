"""Who may log in: read from the data folder by whoever asks, the broker's process among them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from sqlalchemy import select

from gpumon.datafolder import DataFolder
from gpumon.errors import SecretFileError
from gpumon.files import read_secret
from gpumon.log import OncePer
from gpumon.roles import STRANGER_NAME, Principal, Role
from master.account_reader import AccountReader, AccountsUnreadableError
from master.account_snapshot import AccountSnapshot
from master.passwords import Passwords, is_api_token, is_same, token_digest
from master.principals import credential_of, key_ends, person, stranger, worker
from master.store.models import ApiTokenRow, JoinKeyRow, UserRow, WorkerTokenRow

logger = logging.getLogger(__name__)

MASTER = "master"


class AccountDirectory:
    """Answers who somebody is; reads only, from the database as it is at that moment, and may be asked by any thread.

    It works before there is a database: then `master`, whose secret is a file, is the only one known.
    """

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._passwords = Passwords()
        self._reader = AccountReader(data)
        self._due = OncePer(60.0)

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password (which takes as long to say for both).

        A person's password takes an argon2 verification (about 50 ms and 64 MiB); an API token in its place, a
        worker's token, a join key (for user `join`) and the master's secret take well under 1 ms.
        """
        answer = self.authenticate_quickly(username, password)
        return answer() if callable(answer) else answer

    def authenticate_quickly(self, username: str, password: str) -> Principal | Callable[[], Principal | None] | None:
        """Return the same in under 1 ms; where that takes an argon2 verification, return the call that makes it."""
        if username == MASTER:
            present = self._master()
            return present[0] if present is not None and is_same(present[1], password) else None
        if username == STRANGER_NAME:
            return self._stranger(password)
        if is_api_token(password):
            owner = self.token_owner(password)
            return owner if owner is not None and owner.name == username else None
        token_sha256, password_hash, account = self._find(username)
        if token_sha256 is not None:
            return worker(username, token_sha256) if is_same(token_sha256, token_digest(password)) else None
        return lambda: account if self._passwords.is_right(password_hash, password) else None

    def token_owner(self, token: str) -> Principal | None:
        """Return whom an API token stands for, None for one that is unknown, removed or expired."""
        digest = token_digest(token)
        query = select(
            ApiTokenRow.id,
            ApiTokenRow.token_sha256,
            ApiTokenRow.expires,
            UserRow.name,
            UserRow.role,
            UserRow.commands_on,
        ).join_from(ApiTokenRow, UserRow, UserRow.name == ApiTokenRow.user_name)
        try:
            with self._reader.connection() as connection:
                row = connection.execute(query.where(ApiTokenRow.token_sha256 == digest)).one_or_none()
        except AccountsUnreadableError:
            return None
        if row is None or not is_same(row.token_sha256, digest) or (row.expires or float("inf")) <= time.time():
            return None
        return person(row.name, row.role, row.commands_on, credential=row.id)

    def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
        """Return those of these principals who would not be let in as they are any more.

        Microseconds a principal where the database has not changed since the last time; where it cannot be read,
        nobody is outdated.
        """
        asked = set(principals)
        masters = {principal for principal in asked if principal.name == MASTER}
        outdated = self._outdated_masters(masters) if masters else set()
        try:
            snapshot = self._reader.snapshot()
        except AccountsUnreadableError:
            return outdated
        return outdated | {principal for principal in asked - masters if not snapshot.is_current(principal)}

    def snapshot(self) -> AccountSnapshot:
        """Return all accounts as they are now. Raises AccountsUnreadableError."""
        return self._reader.snapshot()

    def close(self) -> None:
        """Close the database; it is opened again when somebody asks."""
        self._reader.close()

    def _master(self) -> tuple[Principal, str] | None:
        """Return the master's principal and secret, None where its file cannot be read."""
        try:
            secret = read_secret(self._data.master_secret)
        except SecretFileError as error:
            if self._due("secret"):
                logger.warning("nobody can log in as master: %s", error)
            return None
        return Principal(MASTER, Role.MASTER, credential=credential_of(secret)), secret

    def _outdated_masters(self, masters: set[Principal]) -> set[Principal]:
        present = self._master()
        return set() if present is None else masters - {present[0]}

    def _stranger(self, key: str) -> Principal | None:
        digest = token_digest(key)
        key_end = JoinKeyRow.expires, JoinKeyRow.uses_left, JoinKeyRow.last_used
        query = select(JoinKeyRow.id, JoinKeyRow.key_sha256, *key_end)
        try:
            with self._reader.connection() as connection:
                row = connection.execute(query.where(JoinKeyRow.key_sha256 == digest)).one_or_none()
        except AccountsUnreadableError:
            return None
        if row is None or not is_same(row.key_sha256, digest):
            return None
        return stranger(row.id) if time.time() < key_ends(row.expires, row.uses_left, row.last_used) else None

    def _find(self, name: str) -> tuple[str | None, str | None, Principal | None]:
        """Return a worker's token as it is kept; else a person's password hash, and the principal that it makes."""
        token = select(WorkerTokenRow.token_sha256).where(WorkerTokenRow.worker_id == name)
        user = select(UserRow.password_hash, UserRow.role, UserRow.commands_on).where(UserRow.name == name)
        try:
            with self._reader.connection() as connection:
                token_sha256 = connection.execute(token).scalar()
                row = None if token_sha256 is not None else connection.execute(user).one_or_none()
        except (AccountsUnreadableError, UnicodeEncodeError):
            return None, None, None
        if row is None:
            return token_sha256, None, None
        return None, row.password_hash, person(name, row.role, row.commands_on, credential_of(row.password_hash))
