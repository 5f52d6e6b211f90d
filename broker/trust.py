"""Whom the broker trusts: the one thing it must be told from outside."""

from __future__ import annotations

from typing import Protocol

from gpumon.roles import Principal


class Directory(Protocol):
    """Knows the accounts; the command line fills it in (by default with the master's), so the broker knows no SQL."""

    def authenticate(self, username: str, password: str) -> Principal | None:
        """Return who this is, or None where the name or the password is wrong.

        Called in a thread of its own, since hashing a password takes its time; several calls may run at once.
        """
        ...
