"""Which masters are there, and which of them keeps which worker.

The broker is the one truth about who is there: each master says `online` on its own status topic once a second, and
the broker says `offline` for it when its connection dies. A master that the broker does not hear could keep nothing,
and Redis may be away without anybody being taken for dead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from gpumon.link import KEEPALIVE_S

BEAT_EACH_S = 1.0
GONE_AFTER_S = 5.0
# Before the others count this one as gone.
LET_GO_AFTER_S = 3.5
# Within which every other master has been heard.
SETTLED_AFTER_S = 2.2

# How long the broker may go on to give a master its share that has fallen silent without a word: one and a half
# keepalives (MQTT 3.1.1 section 3.1.2.10), and some more.
MISSED_FOR_S = 1.5 * KEEPALIVE_S + 15.0

Members = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """Who is there, sorted, this master too; nobody while it does not know.

    `spell` is another number each time it has been away for so long that the others may have taken its place;
    `was_late` tells that it noticed only afterwards, since it was stopped or hung.
    """

    members: Members
    spell: int
    was_late: bool


class Roster:
    """Who is there. Safe to use from any thread; `look` is called several times a second."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._heard: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._own = ""
        self._listening_since: float | None = None
        self._last_listening = self._last_look = float("-inf")
        self._last_wall = float("inf")
        self._spell = 0
        self._was_late = False
        self._lock = threading.Lock()

    def begin(self, own: str) -> None:
        """Be one of them under this name."""
        self._own = own

    def beats(self, instance: str) -> None:
        """Take that a master is there now."""
        with self._lock:
            self._heard[instance] = self._clock()
            self._silent.pop(instance, None)

    def is_gone(self, instance: str) -> None:
        """Take that a master has ended, or its connection has died."""
        with self._lock:
            self._heard.pop(instance, None)
            self._silent.pop(instance, None)

    @property
    def is_one_silent(self) -> bool:
        """Whether the broker may still give samples to a master that does nothing with them."""
        now = self._clock()
        return any(now - at < MISSED_FOR_S for at in list(self._silent.values()))

    def look(self, *, is_listening: bool) -> Present:
        """Return who is there."""
        with self._lock:
            now, wall = self._clock(), self._wall()
            # The steady clock stands still while a machine sleeps.
            if max(now - self._last_look, wall - self._last_wall) > LET_GO_AFTER_S:
                self._begin_anew(was_late=self._last_look != float("-inf"))
            self._last_look, self._last_wall = now, wall
            if is_listening:
                self._listen(now)
            elif now - self._last_listening > LET_GO_AFTER_S and self._listening_since is not None:
                self._begin_anew(was_late=False)
            since = self._listening_since
            is_settled = since is not None and now - since >= SETTLED_AFTER_S
            members = tuple(sorted({*self._heard, self._own})) if is_settled else ()
            return Present(members, self._spell, self._was_late)

    def _listen(self, now: float) -> None:
        if self._listening_since is None:
            self._listening_since = now
        elif now - self._last_listening > BEAT_EACH_S:
            self._heard = dict.fromkeys(self._heard, now)  # nobody could be heard for a moment
        self._last_listening = now
        for name in [name for name, at in self._heard.items() if now - at >= GONE_AFTER_S]:
            del self._heard[name]
            self._silent[name] = now

    def _begin_anew(self, *, was_late: bool) -> None:
        self._listening_since = None
        self._heard.clear()
        self._spell += 1
        self._was_late = was_late


def keeper_of(worker_id: str, members: Members) -> str | None:
    """Return which of these masters keeps a worker, None of none.

    The one whose number with the worker is highest (rendezvous hashing, Thaler and Ravishankar 1998): where a master
    comes or goes, no worker moves between two others.
    """
    return max(members, key=lambda name: blake2b(f"{name} {worker_id}".encode(), digest_size=8).digest(), default=None)
