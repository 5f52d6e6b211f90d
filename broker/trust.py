"""Whom the broker trusts: the one thing it must be told from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from gpumon.roles import Principal

SlowCheck = Callable[[], "Principal | None"]


class Directory(Protocol):
    """Knows the accounts; the command line fills it in (by default with the master's), so the broker knows no SQL."""

    def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
        """Return who this is, or None where the name or the password is wrong, within about a millisecond.

        Where that takes longer, since a password must be hashed to know, return the call that does it: the broker makes
        few of them at once, so that a flood of log-ins with people's names does not delay the workers, whose tokens
        take no time. Called in threads of the broker's own, several at once.
        """
        ...

    def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
        """Return those of these principals who would not be let in as they are any more.

        Their account, token or key is gone, or has another secret, role or limit now. Called about once a second, in a
        thread of its own; where the accounts cannot be read, nobody is outdated.
        """
        ...
