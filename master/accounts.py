"""Accounts: people and workers under one set of names, for the page and MQTT alike."""

from __future__ import annotations

from dataclasses import dataclass

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.roles import Principal, Role
from master.store.engine import Store


class AccountError(GpumonError):
    """An account that cannot be made, changed or found as asked."""


@dataclass(frozen=True, slots=True)
class User:
    """A person's account."""

    name: str
    role: Role
    created: float


@dataclass(frozen=True, slots=True)
class WorkerAccount:
    """A worker's account."""

    worker_id: str
    created: float


class AccountDirectory:
    """Who may log in, read from a data folder; for the broker's process."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password."""
        raise NotImplementedError


class Accounts:
    """Makes, changes, lists and checks accounts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_user(self, name: str, role: Role, password: str | None = None) -> str:
        """Add a person and return the password, a generated one where none is given. Raises AccountError."""
        raise NotImplementedError

    def set_password(self, name: str, password: str | None = None) -> str:
        """Give a person another password and return it. Raises AccountError."""
        raise NotImplementedError

    def remove_user(self, name: str) -> None:
        """Remove a person. Raises AccountError: for an unknown name and for the last admin."""
        raise NotImplementedError

    def users(self) -> list[User]:
        """Return all people, sorted by name."""
        raise NotImplementedError

    def add_worker(self, worker_id: str, *, replace: bool = False) -> str:
        """Add a worker and return its token. Raises AccountError."""
        raise NotImplementedError

    def remove_worker(self, worker_id: str) -> None:
        """Remove a worker's account. Raises AccountError."""
        raise NotImplementedError

    def rotate_worker(self, worker_id: str) -> str:
        """Give a worker another token and return it. Raises AccountError."""
        raise NotImplementedError

    def workers(self) -> list[WorkerAccount]:
        """Return all workers' accounts, sorted by id."""
        raise NotImplementedError

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, None for a wrong name or password."""
        raise NotImplementedError

    def first_login(self) -> str | None:
        """Make the account `admin` where there is no admin yet, and return its password; else None."""
        raise NotImplementedError
