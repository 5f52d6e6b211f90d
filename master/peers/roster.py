"""Which masters are there, and which of them keeps which worker.

The broker is the one truth about who is there: each master says `online` on its own status topic once a second, and
the broker says `offline` for it when its connection dies. A master that the broker does not hear could keep nothing,
and Redis may be away without anybody being taken for dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import blake2b

BEAT_EACH_S = 1.0
GONE_AFTER_S = 3.5
# Before the others count this one as gone.
LET_GO_AFTER_S = 2.5
# Within which every other master has been heard.
SETTLED_AFTER_S = 2.2

Members = tuple[str, ...]


class Roster:
    """Who is there. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._own = ""
        self._listening_since: float | None = None
        self._last_listening = float("-inf")
        self._lock = threading.Lock()

    def begin(self, own: str) -> None:
        """Be one of them under this name."""
        self._own = own

    def beats(self, instance: str) -> None:
        """Take that a master is there now."""
        with self._lock:
            self._heard[instance] = self._clock()

    def is_gone(self, instance: str) -> None:
        """Take that a master has ended, or its connection has died."""
        with self._lock:
            self._heard.pop(instance, None)

    def members(self, *, is_listening: bool) -> Members | None:
        """Return who is there, this master too, sorted; None while it does not know.

        That is until it has listened to the broker for a while, and once it has not for so long that the others may
        have taken its place.
        """
        with self._lock:
            now = self._clock()
            if not is_listening:
                if now - self._last_listening > LET_GO_AFTER_S:
                    self._listening_since = None
                    self._heard.clear()
                    return None
            else:
                if self._listening_since is None:
                    self._listening_since = now
                elif now - self._last_listening > BEAT_EACH_S:
                    # Nobody could be heard for a moment.
                    self._heard = dict.fromkeys(self._heard, now)
                self._last_listening = now
            since = self._listening_since
            if since is None or now - since < SETTLED_AFTER_S:
                return None
            if is_listening:
                self._heard = {name: at for name, at in self._heard.items() if now - at < GONE_AFTER_S}
            return tuple(sorted({*self._heard, self._own}))


def keeper_of(worker_id: str, members: Members) -> str | None:
    """Return which of these masters keeps a worker, None of none.

    The one whose number with the worker is highest (rendezvous hashing, Thaler and Ravishankar 1998): where a master
    comes or goes, no worker moves between two others.
    """
    return max(members, key=lambda name: blake2b(f"{name} {worker_id}".encode(), digest_size=8).digest(), default=None)
