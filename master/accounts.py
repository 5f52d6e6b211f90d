"""Accounts: people and workers under one set of names, for the page and MQTT alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, InvalidTopicError
from gpumon.roles import Labels, Principal, Role
from gpumon.topics import check_worker_id
from master.account_directory import AccountDirectory
from master.account_mirror import AccountMirror, NoMirror
from master.api_tokens import ApiTokens
from master.audit import BY_ITSELF, Actor, add_entry
from master.limits import limit_for, limit_text
from master.passwords import Passwords, is_api_token, new_password, new_token, token_digest
from master.prepare import prepare
from master.principals import credential_of, labels_to_text, person, worker
from master.sessions import PageSessions, end_sessions
from master.store.engine import Store, upsert
from master.store.models import JoinKeyRow, RemovedWorkerRow, UserRow, WorkerRow, WorkerTokenRow, table_of

__all__ = ["AccountDirectory", "AccountError", "Accounts", "User", "WorkerAccount", "open_accounts"]

PEOPLES_ROLES = frozenset({Role.VIEWER, Role.OPERATOR, Role.INTEGRATION, Role.ADMIN})
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
FIRST_ADMIN = "admin"


class AccountError(GpumonError):
    """An account that cannot be made, changed or found as asked; the message says why."""

    see = "troubleshooting.md#an-account-cannot-be-changed"


@dataclass(frozen=True, slots=True)
class User:
    """A person's account; `created` in seconds since 1970, `commands_on` as in `Principal`."""

    name: str
    role: Role
    created: float
    commands_on: Labels | None = None


@dataclass(frozen=True, slots=True)
class WorkerAccount:
    """A worker's account; `created` and `joined` (None: added by hand) in seconds since 1970."""

    worker_id: str
    created: float
    joined: float | None = None
    join_key_id: str | None = None


class Accounts:
    """Makes, changes, lists and checks accounts, each in one short transaction; several processes may at once.

    `mirror` is told of each change within its transaction, so that what it raises undoes the change. Every method
    raises StoreError where the database does not answer.
    """

    def __init__(self, store: Store, mirror: AccountMirror | None = None) -> None:
        self._store = store
        self._mirror = mirror or NoMirror()
        self._passwords = Passwords()
        self.directory = AccountDirectory(store.data)
        self.tokens = ApiTokens(store)
        self.sessions = PageSessions(store)

    def close(self) -> None:
        """Close what `authenticate` has opened; safe to call twice."""
        self.directory.close()

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password (which takes as long to say for both)."""
        return self.directory.authenticate(username, password)

    def add_user(
        self,
        name: str,
        role: Role,
        password: str | None = None,
        commands_on: str | None = None,
        by: Actor = BY_ITSELF,
    ) -> str:
        """Add a person and return the password, a generated one where none is given; `commands_on` is read by `limits`.

        Raises AccountError: for a name that is taken or not allowed, a role that is not a person's, and a password of
        fewer than 8 characters; LimitError: for a limit that cannot be used.
        """
        check_name(name)
        _check_role(role)
        limit = limit_for(role, commands_on)
        password, password_hash = self._chosen(password)
        with self._changing() as connection:
            _check_free(connection, name)
            _insert_user(connection, name, role, password_hash, limit)
            add_entry(connection, by, "user.added", name, **_shown(name, role, limit))
            self._mirror.put(Principal(name, role, limit, credential_of(password_hash)), password)
        return password

    def change_user(
        self, name: str, role: Role | None = None, commands_on: str | None = None, by: Actor = BY_ITSELF
    ) -> User:
        """Give a person another role, another limit or both, and return the account as it is then.

        With another role and no limit given, it is what the new role has by itself. Raises AccountError: for an
        unknown name, a role that is not a person's, and another role for the last admin; LimitError.
        """
        with self._changing() as connection:
            before = _user(connection, name)
            if before is None:
                raise _unknown("user", name)
            after_role = before.role if role is None else _check_role(role)
            limit = before.commands_on
            if after_role is not before.role or commands_on is not None:
                limit = limit_for(after_role, commands_on)
            if after_role is not before.role:
                _check_not_last_admin(connection, before, "giving this one another role")
            values = {"role": after_role.value, "commands_on": labels_to_text(limit)}
            connection.execute(update(UserRow).where(UserRow.name == name).values(values))
            if after_role is not before.role:
                add_entry(connection, by, "user.role", name, before=before.role.value, after=after_role.value)
            if limit != before.commands_on:
                add_entry(connection, by, "user.limits", name, **_shown(name, after_role, limit))
            self._mirror.change(Principal(name, after_role, limit))
        return User(name, after_role, before.created, limit)

    def set_password(
        self, name: str, password: str | None = None, by: Actor = BY_ITSELF, keep_session: str | None = None
    ) -> str:
        """Give a person another password, a generated one where none is given, and return it.

        It ends the person's sessions on the page but the one with the id `keep_session`. API tokens stay. Raises
        AccountError: for an unknown name and a password of fewer than 8 characters.
        """
        password, password_hash = self._chosen(password)
        with self._changing() as connection:
            user = _user(connection, name)
            if user is None:
                raise _unknown("user", name)
            connection.execute(update(UserRow).where(UserRow.name == name).values(password_hash=password_hash))
            add_entry(connection, by, "user.password", name)
            end_sessions(connection, name, by, but=keep_session)
            principal = Principal(name, user.role, user.commands_on, credential_of(password_hash))
            self._mirror.put(principal, password)
        return password

    def remove_user(self, name: str, by: Actor = BY_ITSELF) -> None:
        """Remove a person with all tokens and sessions.

        Raises AccountError: for an unknown name and for the last admin.
        """
        with self._changing() as connection:
            user = _user(connection, name)
            if user is None:
                raise _unknown("user", name)
            _check_not_last_admin(connection, user, "removing this one")
            connection.execute(delete(UserRow).where(UserRow.name == name))
            add_entry(connection, by, "user.removed", name)
            self._mirror.remove(Principal(name, user.role))

    def users(self) -> list[User]:
        """Return all people, sorted by name."""
        query = select(UserRow.name, UserRow.role, UserRow.created, UserRow.commands_on).order_by(UserRow.name)
        with self._store.read() as connection:
            return [user for row in connection.execute(query) if (user := _user_of(row)) is not None]

    def add_worker(self, worker_id: str, *, replace: bool = False, by: Actor = BY_ITSELF) -> str:
        """Add a worker and return its token, which is not kept; `replace` gives a known worker a new one.

        Raises AccountError: for an id that is taken or not allowed.
        """
        check_name(worker_id)
        token = new_token()
        with self._changing() as connection:
            has_replaced = let_worker_in(connection, worker_id, token, replace=replace)
            add_entry(connection, by, "worker.rotated" if has_replaced else "worker.added", worker_id)
            self._mirror.put(worker(worker_id, token_digest(token)), token)
        return token

    def rotate_worker(self, worker_id: str, by: Actor = BY_ITSELF) -> str:
        """Give a worker another token and return it. Raises AccountError: for an unknown worker."""
        token = new_token()
        with self._changing() as connection:
            if not _set_token(connection, worker_id, token):
                raise _unknown("worker", worker_id)
            add_entry(connection, by, "worker.rotated", worker_id)
            self._mirror.put(worker(worker_id, token_digest(token)), token)
        return token

    def remove_worker(self, worker_id: str, by: Actor = BY_ITSELF) -> None:
        """Remove a worker's account; the running master forgets the worker, one without an account as well.

        Raises AccountError: for an unknown worker.
        """
        with self._changing() as connection:
            account = delete(WorkerTokenRow).where(WorkerTokenRow.worker_id == worker_id)
            already = select(RemovedWorkerRow.worker_id)
            kept = select(WorkerRow.id).where(WorkerRow.id == worker_id, WorkerRow.id.not_in(already))
            if connection.execute(account).rowcount == 0 and connection.execute(kept).first() is None:
                raise _unknown("worker", worker_id)
            leave_word(connection, worker_id, by)
            self._mirror.remove(Principal(worker_id, Role.WORKER))

    def workers(self) -> list[WorkerAccount]:
        """Return all workers' accounts, sorted by id."""
        columns = WorkerTokenRow.worker_id, WorkerTokenRow.created, WorkerTokenRow.joined, WorkerTokenRow.join_key_id
        with self._store.read() as connection:
            rows = connection.execute(select(*columns).order_by(WorkerTokenRow.worker_id))
            return [WorkerAccount(row.worker_id, row.created, row.joined, row.join_key_id) for row in rows]

    def usable_key_of(self, worker_id: str) -> str | None:
        """Return the id of the join key with which this worker has joined, where that lets in more."""
        used = select(WorkerTokenRow.join_key_id).where(WorkerTokenRow.worker_id == worker_id)
        usable = select(JoinKeyRow.id).where(JoinKeyRow.uses_left > 0, JoinKeyRow.expires > time.time())
        with self._store.read() as connection:
            return connection.execute(usable.where(JoinKeyRow.id.in_(used))).scalar()

    def first_login(self) -> str | None:
        """Make the account `admin` where there is no admin yet, and return its password; else None.

        Raises AccountError: when somebody who is no admin has that name.
        """
        with self._store.read() as connection:
            if _count_admins(connection):
                return None
        password, password_hash = self._chosen(None)
        with self._changing() as connection:
            if _count_admins(connection):
                return None
            _check_free(connection, FIRST_ADMIN)
            _insert_user(connection, FIRST_ADMIN, Role.ADMIN, password_hash, None)
            add_entry(connection, BY_ITSELF, "user.added", FIRST_ADMIN, role=Role.ADMIN.value)
            first = Principal(FIRST_ADMIN, Role.ADMIN, credential=credential_of(password_hash))
            self._mirror.put(first, password)
        return password

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Connection]:
        self._mirror.ready()
        with self._store.write() as connection:
            yield connection

    def _chosen(self, password: str | None) -> tuple[str, str]:
        """Return the password, a generated one for None, and its hash."""
        if password is None:
            password = new_password()
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise AccountError(f"the password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        if is_api_token(password):
            raise AccountError("the password looks like an API token: choose another")
        try:
            return password, self._passwords.hash(password)
        except UnicodeEncodeError as error:
            raise AccountError("the password holds a character that is no valid text: type it again") from error


@contextlib.contextmanager
def open_accounts(data: DataFolder, mirror: AccountMirror | None = None) -> Iterator[Accounts]:
    """Give the accounts of a data folder, made ready where it is not, to a process that is no master.

    Raises StartError.
    """
    prepare(data)
    store = Store(data)
    accounts = Accounts(store, mirror)
    try:
        yield accounts
    finally:
        accounts.close()
        store.stop()


def let_worker_in(
    connection: Connection,
    worker_id: str,
    token: str,
    *,
    replace: bool,
    joined: float | None = None,
    join_key_id: str | None = None,
) -> bool:
    """Add a worker within a write transaction, and tell whether it took the place of a known one.

    `replace` allows that. Raises AccountError: for an id that is taken or not allowed.
    """
    check_name(worker_id)
    row = {"token_sha256": token_digest(token), "joined": joined, "join_key_id": join_key_id}
    present = WorkerTokenRow.worker_id == worker_id
    connection.execute(delete(RemovedWorkerRow).where(RemovedWorkerRow.worker_id == worker_id))
    if replace and connection.execute(update(WorkerTokenRow).where(present).values(row)).rowcount:
        return True
    _check_free(connection, worker_id)
    connection.execute(insert(WorkerTokenRow).values({"worker_id": worker_id, "created": time.time(), **row}))
    return False


def leave_word(connection: Connection, worker_id: str, by: Actor) -> None:
    """Have the running master forget a worker, within the write transaction that shuts it out."""
    removed = {"worker_id": worker_id, "removed": time.time()}
    connection.execute(upsert(connection.dialect.name, table_of(RemovedWorkerRow)).values(removed))
    add_entry(connection, by, "worker.removed", worker_id)


def check_name(name: str) -> None:
    """Refuse names that topics do not allow. Raises AccountError."""
    try:
        check_worker_id(name)
    except InvalidTopicError as error:
        raise AccountError(str(error).replace("worker id", "name", 1)) from error


def _check_free(connection: Connection, name: str) -> None:
    if connection.execute(select(UserRow.name).where(UserRow.name == name)).first():
        raise AccountError(f"{name} is taken by a user: choose another name, or remove that one first")
    if connection.execute(select(WorkerTokenRow.worker_id).where(WorkerTokenRow.worker_id == name)).first():
        raise AccountError(f"{name} is taken by a worker: choose another name, or remove that one first")


def _check_role(role: Role) -> Role:
    if role not in PEOPLES_ROLES:
        raise AccountError(f"role {role.value!r} is not for people: use viewer, operator, integration or admin")
    return role


def _check_not_last_admin(connection: Connection, user: User, what: str) -> None:
    if user.role is Role.ADMIN and _count_admins(connection) == 1:
        raise AccountError(f"{user.name} is the last admin: add another before {what}")


def _insert_user(connection: Connection, name: str, role: Role, password_hash: str, commands_on: Labels | None) -> None:
    row = {
        "name": name,
        "role": role.value,
        "password_hash": password_hash,
        "created": time.time(),
        "commands_on": labels_to_text(commands_on),
    }
    connection.execute(insert(UserRow).values(row))


def _user(connection: Connection, name: str) -> User | None:
    query = select(UserRow.name, UserRow.role, UserRow.created, UserRow.commands_on).where(UserRow.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _user_of(row)


def _user_of(row: Any) -> User | None:
    """Return the account, None for one with a role or limit of a later version, which lets nobody in here."""
    known = person(row.name, row.role, row.commands_on, "")
    return None if known is None else User(known.name, known.role, row.created, known.commands_on)


def _shown(name: str, role: Role, commands_on: Labels | None) -> dict[str, str]:
    return {"role": role.value, "commands_on": limit_text(Principal(name, role, commands_on))}


def _set_token(connection: Connection, worker_id: str, token: str) -> bool:
    statement = update(WorkerTokenRow).where(WorkerTokenRow.worker_id == worker_id)
    return connection.execute(statement.values(token_sha256=token_digest(token))).rowcount == 1


def _count_admins(connection: Connection) -> int:
    query = select(func.count()).select_from(UserRow).where(UserRow.role == Role.ADMIN.value)
    return int(connection.execute(query).scalar() or 0)


def _unknown(kind: str, name: str) -> AccountError:
    return AccountError(f"there is no {kind} {name!r}: see gpumon {kind} list")
