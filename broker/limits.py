"""What one client, one address and everybody together may cost; pure, with the time in seconds given by who asks."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

BURST_S = 5.0
FORGIVEN_AFTER_S = 300.0
MAX_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the settings' section `broker`, and what tests make smaller.

    `spare_loopback` keeps the limits that are counted by address from this machine's own clients: a proxy, the page and
    every local tool share one address.
    """

    max_packet_bytes: int = 2 * 1024 * 1024
    max_queued_messages: int = 10_000
    max_connections: int = 20_000
    max_connections_per_address: int = 200
    max_messages_per_s: float = 200.0
    max_bytes_per_s: float = 4.0 * 1024 * 1024
    max_half_open: int = 2048  # of about 60 KB each in the middle of a TLS handshake
    spare_loopback: bool = True

    def counts(self, address: str) -> bool:
        """Tell whether clients of this address are limited by it."""
        return not (self.spare_loopback and is_loopback(address))


def plain_address(address: str) -> str:
    """Return an address as people write it: an IPv4 client of a socket that takes both is no `::ffff:192.0.2.1`."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def is_loopback(address: str) -> bool:
    """Tell whether a client is on this machine."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Allowance:
    """A token bucket: so much a second over a longer time, and at once what has been saved, `burst` at most."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._left = burst
        self._at = now

    def spend(self, amount: float, now: float) -> float:
        """Take an amount, and return for how many seconds to rest until that is earned (0 where it was saved)."""
        self._left = self.saved(now) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)

    def saved(self, now: float) -> float:
        """Return what could be taken at once; below 0 while more was taken than earned."""
        return min(self._burst, self._left + (now - self._at) * self._rate)

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is missing, so that a new one would be the same."""
        return self.saved(now) >= self._burst


class Allowances:
    """An allowance for each key; those that are whole again are let go of."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._kept: dict[Hashable, Allowance] = {}
        self._tidy_at = 1000

    def __len__(self) -> int:
        return len(self._kept)

    def spend(self, key: Hashable, amount: float, now: float) -> float:
        """Take an amount from a key's allowance, and return for how many seconds it should rest."""
        return self._of(key, now).spend(amount, now)

    def may_spend(self, key: Hashable, amount: float, now: float) -> bool:
        """Take an amount where it is saved, else nothing; tell which."""
        allowance = self._of(key, now)
        if allowance.saved(now) < amount:
            return False
        allowance.spend(amount, now)
        return True

    def _of(self, key: Hashable, now: float) -> Allowance:
        allowance = self._kept.get(key)
        if allowance is None:
            if len(self._kept) >= self._tidy_at:
                self._kept = {each: kept for each, kept in self._kept.items() if not kept.is_whole(now)}
                self._tidy_at = max(1000, 2 * len(self._kept))
            allowance = self._kept[key] = Allowance(self._rate, self._burst, now)
        return allowance


class Failures:
    """Failed log-ins by key: a few are free, then each further one closes the door for twice as long, up to a bound.

    Each failure is forgiven after five minutes, so a tool with an old password costs its address nothing for good.
    """

    def __init__(self, free: int, longest_s: float) -> None:
        self._free = free
        self._longest_s = longest_s
        self._kept: OrderedDict[Hashable, tuple[float, float, float]] = OrderedDict()  # failures, at, closed until

    def wait_s(self, key: Hashable, now: float) -> float:
        """Return for how many seconds to refuse this key without looking; 0 where it may try."""
        kept = self._kept.get(key)
        return max(0.0, kept[2] - now) if kept is not None else 0.0

    def failed(self, key: Hashable, now: float) -> None:
        """Count a failure."""
        failures, at, _ = self._kept.pop(key, (0.0, now, 0.0))
        failures = max(0.0, failures - (now - at) / FORGIVEN_AFTER_S) + 1
        over = failures - self._free
        refusal_s = min(self._longest_s, 2.0 ** min(over, 16.0)) if over > 0 else 0.0
        self._kept[key] = failures, now, now + refusal_s
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of a key that has shown a right password."""
        self._kept.pop(key, None)
