"""Where accounts are kept besides the database, for a broker that knows nothing of it."""

from __future__ import annotations

from typing import Protocol

from gpumon.errors import GpumonError
from gpumon.roles import Principal


class MirrorRefusedError(GpumonError):
    """An account that cannot be kept there under its name, whenever it is tried; the message says why."""

    see = "troubleshooting.md#an-account-cannot-be-changed"


class AccountMirror(Protocol):
    """Told of every change of an account before it is committed: what it raises undoes the change."""

    def ready(self) -> None:
        """Make sure that a change can be told now; called before the transaction, as it may take its time."""
        ...

    def put(self, principal: Principal, secret: str) -> None:
        """Make this account, or give it another password, token or join key; its connections are closed."""
        ...

    def change(self, principal: Principal) -> None:
        """Give an account another role or limit; its connections are closed."""
        ...

    def remove(self, principal: Principal) -> None:
        """Remove an account and close its connections."""
        ...


class NoMirror:
    """Accounts are in the database alone: the embedded broker reads them there."""

    def ready(self) -> None:
        """Do nothing."""

    def put(self, principal: Principal, secret: str) -> None:
        """Do nothing."""

    def change(self, principal: Principal) -> None:
        """Do nothing."""

    def remove(self, principal: Principal) -> None:
        """Do nothing."""
