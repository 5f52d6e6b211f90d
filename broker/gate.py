"""Who may come in: connections are counted by address and in all, and those that do not log in make room for others.

Somebody who opens thousands of connections and says nothing must not keep others out. A guest is taken as long as there
is room; where there is none, the guest that has waited longest without introducing itself has to go, but none before
it had time to do so. While all are younger than that, further ones wait in the system's own queue. Guests with and
without TLS have rooms of their own: a flood on one port leaves the other as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from broker.counters import BrokerCounters
from broker.limits import Allowances, Limits

# A CONNECT follows its connection at once; a TLS handshake takes two round trips, and its turn in a fleet's.
PLAIN_GRACE_S = 0.25
TLS_GRACE_S = 2.0
# An address may open as many connections at once as it may have, and as many again each ten seconds: a whole rack
# behind one address comes back at once, while TLS handshakes, which take the broker 1 ms each, are not free.
REFILL_S = 10.0


@dataclass(eq=False, slots=True)
class Guest:
    """A connection, from the moment it is taken until it has ended; `turn_away` ends it from outside."""

    address: str
    since: float
    turn_away: Callable[[], None]
    has_tls: bool
    is_counted_by_address: bool
    has_left: bool = False

    def had_time(self, now: float) -> bool:
        """Tell whether it could have introduced itself by now."""
        return now - self.since >= (TLS_GRACE_S if self.has_tls else PLAIN_GRACE_S)


@dataclass(slots=True)
class _Address:
    connections: int = 0
    silent: dict[Guest, None] = field(default_factory=dict)


class Gate:
    """Counts connections, and decides who is let in and who has to go."""

    def __init__(self, limits: Limits, counters: BrokerCounters) -> None:
        self._limits = limits
        self._counters = counters
        self._connections = 0
        # Those that have not introduced themselves, the oldest first, without TLS and with it.
        self._silent: dict[bool, dict[Guest, None]] = {False: {}, True: {}}
        self._addresses: dict[str, _Address] = {}
        each = limits.max_connections_per_address
        self._openings = Allowances(each / REFILL_S, each)

    @property
    def half_open(self) -> int:
        """How many have not introduced themselves yet."""
        return sum(map(len, self._silent.values()))

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return self._connections

    def is_open(self, now: float, *, has_tls: bool = False) -> bool:
        """Tell whether another connection can be taken now; else it waits for the moment until one had its time."""
        silent = self._silent[has_tls]
        return len(silent) < self._limits.max_half_open or _oldest(silent, now) is not None

    def enter(self, address: str, now: float, turn_away: Callable[[], None], *, has_tls: bool = False) -> Guest | None:
        """Take a connection, and turn another away where that makes the room for it; None where it is refused."""
        guest = Guest(address, now, turn_away, has_tls, self._limits.counts(address))
        if not self._has_room(guest, now):
            self._counters.refused_connections += 1
            return None
        silent = self._silent[has_tls]
        if len(silent) >= self._limits.max_half_open:
            self._evict(_oldest(silent, now))
        self._connections += 1
        silent[guest] = None
        if guest.is_counted_by_address:
            known = self._addresses.setdefault(address, _Address())
            known.connections += 1
            known.silent[guest] = None
        return guest

    def introduced(self, guest: Guest) -> None:
        """Count a guest as one who has said who it is; from now on it is not turned away."""
        self._silent[guest.has_tls].pop(guest, None)
        if guest.is_counted_by_address and (known := self._addresses.get(guest.address)) is not None:
            known.silent.pop(guest, None)

    def leave(self, guest: Guest) -> None:
        """Count a connection as ended; safe to call twice."""
        if guest.has_left:
            return
        guest.has_left = True
        self.introduced(guest)
        self._connections -= 1
        if guest.is_counted_by_address and (known := self._addresses.get(guest.address)) is not None:
            known.connections -= 1
            if not known.connections:
                del self._addresses[guest.address]

    def turn_away_oldest(self) -> bool:
        """Turn away the guest that has been silent for longest; tell whether there was one."""
        most = max(self._silent[False], self._silent[True], key=len)
        return self._evict(next(iter(most), None))

    def _has_room(self, guest: Guest, now: float) -> bool:
        if guest.is_counted_by_address:
            if not self._openings.may_spend(guest.address, 1, now):
                return False
            known = self._addresses.get(guest.address)
            if known is not None and known.connections >= self._limits.max_connections_per_address:
                return self._evict(_oldest(known.silent, now))
        if self._connections >= self._limits.max_connections:
            return self._evict(_oldest(self._silent[False], now) or _oldest(self._silent[True], now))
        return True

    def _evict(self, guest: Guest | None) -> bool:
        if guest is None:
            return False
        self._counters.evicted_guests += 1
        self.leave(guest)
        guest.turn_away()
        return True


def _oldest(guests: dict[Guest, None], now: float) -> Guest | None:
    """Return the guest that has been silent for longest, None where that is not long yet."""
    guest = next(iter(guests), None)
    return guest if guest is not None and guest.had_time(now) else None
