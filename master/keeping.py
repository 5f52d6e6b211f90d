"""Which workers this master accounts for: all of them, unless it shares the fleet with other masters.

Every master shows every worker. History, usage, alerts and what is kept of a worker need all of its samples in one
place: the master that keeps the worker does them, the others leave them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Keeps = Callable[[str], bool]
"""Tells whether this master keeps a worker (by its id)."""


def keeps_all(_worker_id: str) -> bool:
    """Keep every worker, as a master does that is alone."""
    return True


class HandedOver(Protocol):
    """A part of the master that does what a worker's keeper does. Both methods raise StoreError."""

    def release(self, is_lost: Keeps, *, is_late: bool) -> None:
        """Have written what has come in of these workers, and let go of it: another master goes on with them.

        Where that one has them already, it is too late for writing: what it writes is newer.
        """

    def take_over(self, is_gained: Keeps) -> None:
        """Go on with what is kept of these workers, which another master had until now, or nobody."""
