"""Accounts: people and workers under one set of names, for the page and MQTT alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, InvalidTopicError
from gpumon.roles import Principal, Role
from gpumon.topics import check_worker_id
from master.account_directory import AccountDirectory
from master.passwords import Passwords, new_password, new_token, token_digest
from master.prepare import prepare
from master.store.engine import Store
from master.store.models import UserRow, WorkerTokenRow

__all__ = ["AccountDirectory", "AccountError", "Accounts", "User", "WorkerAccount", "open_accounts"]

PEOPLES_ROLES = frozenset({Role.VIEWER, Role.OPERATOR, Role.INTEGRATION, Role.ADMIN})
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
FIRST_ADMIN = "admin"


class AccountError(GpumonError):
    """An account that cannot be made, changed or found as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class User:
    """A person's account; `created` in seconds since 1970."""

    name: str
    role: Role
    created: float


@dataclass(frozen=True, slots=True)
class WorkerAccount:
    """A worker's account; `created` in seconds since 1970."""

    worker_id: str
    created: float


class Accounts:
    """Makes, changes, lists and checks accounts, each in one short transaction; several processes may at once.

    Every method raises StoreError where the database does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._passwords = Passwords()
        self._directory = AccountDirectory(store.data)

    def close(self) -> None:
        """Close what `authenticate` has opened; safe to call twice."""
        self._directory.close()

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password (which takes as long to say for both)."""
        return self._directory.authenticate(username, password)

    def add_user(self, name: str, role: Role, password: str | None = None) -> str:
        """Add a person and return the password, a generated one where none is given.

        Raises AccountError: for a name that is taken or not allowed, a role that is not a person's, and a password of
        fewer than 8 characters.
        """
        _check_name(name)
        if role not in PEOPLES_ROLES:
            raise AccountError(f"role {role.value!r} is not for people: use viewer, operator, integration or admin")
        password, password_hash = self._chosen(password)
        with self._store.write() as connection:
            _check_free(connection, name)
            _insert_user(connection, name, role, password_hash)
        return password

    def set_password(self, name: str, password: str | None = None) -> str:
        """Give a person another password, a generated one where none is given, and return it.

        Raises AccountError: for an unknown name and a password of fewer than 8 characters.
        """
        password, password_hash = self._chosen(password)
        with self._store.write() as connection:
            statement = update(UserRow).where(UserRow.name == name).values(password_hash=password_hash)
            if connection.execute(statement).rowcount == 0:
                raise _unknown("user", name)
        return password

    def remove_user(self, name: str) -> None:
        """Remove a person. Raises AccountError: for an unknown name and for the last admin."""
        with self._store.write() as connection:
            role = connection.execute(select(UserRow.role).where(UserRow.name == name)).scalar()
            if role is None:
                raise _unknown("user", name)
            if role == Role.ADMIN.value and _count_admins(connection) == 1:
                raise AccountError(f"{name} is the last admin: add another before removing this one")
            connection.execute(delete(UserRow).where(UserRow.name == name))

    def users(self) -> list[User]:
        """Return all people, sorted by name."""
        with self._store.read() as connection:
            rows = connection.execute(select(UserRow.name, UserRow.role, UserRow.created).order_by(UserRow.name))
            return [User(row.name, Role(row.role), row.created) for row in rows]

    def add_worker(self, worker_id: str, *, replace: bool = False) -> str:
        """Add a worker and return its token, which is not kept; `replace` gives a known worker a new one.

        Raises AccountError: for an id that is taken or not allowed.
        """
        _check_name(worker_id)
        token = new_token()
        with self._store.write() as connection:
            if not (replace and _set_token(connection, worker_id, token)):
                _check_free(connection, worker_id)
                row = {"worker_id": worker_id, "token_sha256": token_digest(token), "created": time.time()}
                connection.execute(insert(WorkerTokenRow).values(row))
        return token

    def rotate_worker(self, worker_id: str) -> str:
        """Give a worker another token and return it. Raises AccountError: for an unknown worker."""
        token = new_token()
        with self._store.write() as connection:
            if not _set_token(connection, worker_id, token):
                raise _unknown("worker", worker_id)
        return token

    def remove_worker(self, worker_id: str) -> None:
        """Remove a worker's account. Raises AccountError: for an unknown worker."""
        with self._store.write() as connection:
            if connection.execute(delete(WorkerTokenRow).where(WorkerTokenRow.worker_id == worker_id)).rowcount == 0:
                raise _unknown("worker", worker_id)

    def workers(self) -> list[WorkerAccount]:
        """Return all workers' accounts, sorted by id."""
        query = select(WorkerTokenRow.worker_id, WorkerTokenRow.created).order_by(WorkerTokenRow.worker_id)
        with self._store.read() as connection:
            return [WorkerAccount(row.worker_id, row.created) for row in connection.execute(query)]

    def first_login(self) -> str | None:
        """Make the account `admin` where there is no admin yet, and return its password; else None.

        Raises AccountError: when somebody who is no admin has that name.
        """
        with self._store.read() as connection:
            if _count_admins(connection):
                return None
        password, password_hash = self._chosen(None)
        with self._store.write() as connection:
            if _count_admins(connection):
                return None
            _check_free(connection, FIRST_ADMIN)
            _insert_user(connection, FIRST_ADMIN, Role.ADMIN, password_hash)
        return password

    def _chosen(self, password: str | None) -> tuple[str, str]:
        """Return the password, a generated one for None, and its hash."""
        if password is None:
            password = new_password()
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise AccountError(f"the password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        try:
            return password, self._passwords.hash(password)
        except UnicodeEncodeError as error:
            raise AccountError("the password holds a character that is no valid text: type it again") from error


@contextlib.contextmanager
def open_accounts(data: DataFolder) -> Iterator[Accounts]:
    """Give the accounts of a data folder, made ready where it is not, to a process that is no master.

    Raises StartError.
    """
    prepare(data)
    store = Store(data)
    accounts = Accounts(store)
    try:
        yield accounts
    finally:
        accounts.close()
        store.stop()


def _check_name(name: str) -> None:
    try:
        check_worker_id(name)
    except InvalidTopicError as error:
        raise AccountError(str(error).replace("worker id", "name", 1)) from error


def _check_free(connection: Connection, name: str) -> None:
    if connection.execute(select(UserRow.name).where(UserRow.name == name)).first():
        raise AccountError(f"{name} is taken by a user: choose another name, or remove that one first")
    if connection.execute(select(WorkerTokenRow.worker_id).where(WorkerTokenRow.worker_id == name)).first():
        raise AccountError(f"{name} is taken by a worker: choose another name, or remove that one first")


def _insert_user(connection: Connection, name: str, role: Role, password_hash: str) -> None:
    row = {"name": name, "role": role.value, "password_hash": password_hash, "created": time.time()}
    connection.execute(insert(UserRow).values(row))


def _set_token(connection: Connection, worker_id: str, token: str) -> bool:
    statement = update(WorkerTokenRow).where(WorkerTokenRow.worker_id == worker_id)
    return connection.execute(statement.values(token_sha256=token_digest(token))).rowcount == 1


def _count_admins(connection: Connection) -> int:
    query = select(func.count()).select_from(UserRow).where(UserRow.role == Role.ADMIN.value)
    return int(connection.execute(query).scalar() or 0)


def _unknown(kind: str, name: str) -> AccountError:
    return AccountError(f"there is no {kind} {name!r}: see gpumon {kind} list")
