"""Failed log-ins in the audit: a few a minute in full, the others as a number, so that no guesser fills the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from master.audit import Actor, AuditTrail

MOST_A_MINUTE = 30


class FailedLogins:
    """Tells the audit of failed log-ins."""

    def __init__(self, audit: AuditTrail, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._minute_began = float("-inf")
        self._told = 0
        self._untold = 0
        self._lock = threading.Lock()

    def add(self, name: str | None, address: str) -> None:
        """Tell of one, or count it for the next minute's first; `name` is None where nobody has what was typed."""
        with self._lock:
            now = self._clock()
            if now - self._minute_began > 60.0:
                self._minute_began, self._told = now, 0
            if self._told >= MOST_A_MINUTE:
                self._untold += 1
                return
            self._told += 1
            untold, self._untold = self._untold, 0
        self._audit.add_soon(Actor(name, "page", address), "login.failed", not_listed_before=untold)
