"""API tokens that are nobody's: a program whose token was revoked goes on to show it, each few seconds and for months.

A token cannot be guessed, so what is held down here is what such programs cost: the audit and the log are told once an
hour of each address, and an address that floods is told to wait. Whoever shows a good token is let in meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from gpumon.log import OncePer
from master.audit import Actor, AuditTrail
from webui.throttle import one_place

logger = logging.getLogger(__name__)

TOLD_EACH_S = 3600.0
MOST_AT_ONCE = 1_000  # of one address, and after that a second
MOST_PER_S = 5.0
MOST_ADDRESSES = 10_000


class WrongTokens:
    """Counts requests with a token that is nobody's, by address, and tells of them."""

    def __init__(self, audit: AuditTrail, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._due = OncePer(TOLD_EACH_S)
        self._allowed: dict[str, tuple[float, float]] = {}
        self._untold: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, address: str, path: str) -> float:
        """Count a request; return 0, or after how many seconds the address may try again."""
        place = one_place(address)
        with self._lock:
            wait_s = self._take(place)
            is_due = self._due(place)
            untold = self._untold.pop(place, 0) if is_due else 0
            if not is_due:
                self._untold[place] = self._untold.get(place, 0) + 1
        if is_due:
            logger.warning("a request shows an API token that is not known here", extra={"address": address})
            self._audit.add_soon(
                Actor(None, "api", address), "token.refused", path=path[:200], not_listed_before=untold
            )
        return wait_s

    def _take(self, place: str) -> float:
        now = self._clock()
        left, counted = self._allowed.get(place, (float(MOST_AT_ONCE), now))
        left = min(MOST_AT_ONCE, left + MOST_PER_S * (now - counted))
        if len(self._allowed) > MOST_ADDRESSES:
            self._allowed.clear()
            self._untold.clear()
        self._allowed[place] = (max(left - 1, 0.0), now)
        return 0.0 if left >= 1 else (1 - left) / MOST_PER_S
