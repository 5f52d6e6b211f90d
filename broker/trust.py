"""Whom the broker trusts: the one thing it must be told from outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gpumon.roles import Principal


class Directory(Protocol):
    """Knows the accounts; the command line fills it in (by default with the master's), so the broker knows no SQL."""

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, or None where the name or the password is wrong.

        Called in a thread of its own, since hashing a password takes its time; several calls may run at once.
        """
        ...

    def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
        """Return those of these principals who would not be let in as they are any more.

        Their account, token or key is gone, or has another secret, role or limit now. Called about once a second, in a
        thread of its own; where the accounts cannot be read, nobody is outdated.
        """
        ...
