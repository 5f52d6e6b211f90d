"""A brake on guessing passwords, which does not let a guesser keep the owner out."""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

from gpumon.errors import GpumonError

FIRST_WAIT_S = 2.0
FORGOTTEN_AFTER_S = 900.0
MOST_REMEMBERED = 50_000
IPV6_PREFIX = 64  # what one customer or machine has at least: counted as one address
KNOWN_FOR_S = 365 * 24 * 3600
MOST_CHECKS = 10


@dataclass(frozen=True, slots=True)
class Brake:
    """How many attempts are free, and how long each further one waits at most; the wait doubles from 2 s on."""

    free: int
    longest_wait_s: float


# Of one address or one known browser, and of one name from wherever strangers try it.
FROM_ONE_PLACE = Brake(free=5, longest_wait_s=300.0)
ON_ONE_NAME = Brake(free=20, longest_wait_s=60.0)


class LoginThrottle:
    """Counts attempts before they are checked, so that many at once are counted as well.

    A browser in which somebody has logged in before carries a cookie that says so (`KnownBrowsers`): for that name it
    is counted by itself, so guesses from elsewhere do not hold it up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._attempts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str, name: str, known_browser: str | None = None) -> float:
        """Count an attempt and return 0; or the seconds that it has still to wait, and count nothing."""
        now, keys = self._clock(), _keys(address, name, known_browser)
        with self._lock:
            wait_s = max(self._wait_of(key, brake, now) for key, brake in keys.items())
            if wait_s <= 0:
                self._make_room(now)
                for key in keys:
                    count, last = self._attempts.get(key, (0, now))
                    self._attempts[key] = (1 if now - last > FORGOTTEN_AFTER_S else count + 1, now)
        return max(wait_s, 0.0)

    def succeeded(self, address: str, name: str, known_browser: str | None = None) -> None:
        """Take back the attempt that was right; wrong ones stay, so that no account of a guesser clears them."""
        with self._lock:
            for key in _keys(address, name, known_browser):
                count, last = self._attempts.pop(key, (0, 0.0))
                if count > 1 and known_browser is None:
                    self._attempts[key] = (count - 1, last)

    def _wait_of(self, key: str, brake: Brake, now: float) -> float:
        count, last = self._attempts.get(key, (0, now))
        if count < brake.free or now - last > FORGOTTEN_AFTER_S:
            return 0.0
        pause_s = min(FIRST_WAIT_S * 2.0 ** min(count - brake.free, 20), brake.longest_wait_s)
        return last + pause_s - now

    def _make_room(self, now: float) -> None:
        if len(self._attempts) > MOST_REMEMBERED:
            fresh = {key: kept for key, kept in self._attempts.items() if now - kept[1] < FORGOTTEN_AFTER_S}
            newest = sorted(fresh.items(), key=lambda item: item[1][1])[-MOST_REMEMBERED // 2 :]
            self._attempts = dict(newest)


class KnownBrowsers:
    """Tells a browser in which somebody has logged in before, by a signed cookie that is worth nothing else."""

    def __init__(self, secret_key: str) -> None:
        self._signer = URLSafeTimedSerializer(secret_key, salt="gpumon known browser")

    def introduce(self, name: str) -> str:
        """Return the cookie's value for a browser in which this person has logged in now."""
        return self._signer.dumps([name, secrets.token_hex(8)])

    def recognise(self, cookie: str | None, name: str) -> str | None:
        """Return by what this browser is known as that of this name, None where it is not."""
        try:
            known_name, number = self._signer.loads(cookie or "", max_age=KNOWN_FOR_S)
        except (BadData, ValueError, TypeError):
            return None
        return number if known_name == name else None


class BusyError(GpumonError):
    """More passwords are being checked than may wait."""

    see = "troubleshooting.md#the-page"


class PasswordQueue:
    """Bounds how many requests wait for argon2, which takes 64 MiB and 50 ms each time: the others are told at once."""

    def __init__(self, most: int = MOST_CHECKS) -> None:
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place until the block ends. Raises BusyError: when there is none."""
        if not self._places.acquire(blocking=False):
            raise BusyError("many log-ins are being checked at once: please try again in a few seconds")
        try:
            yield
        finally:
            self._places.release()


def one_place(address: str) -> str:
    """Return the address as it is counted: an IPv6 address by its network, one that carries IPv4 as that."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


def _keys(address: str, name: str, known_browser: str | None) -> dict[str, Brake]:
    if known_browser is not None:
        return {f"browser {known_browser}": FROM_ONE_PLACE}
    return {f"address {one_place(address)}": FROM_ONE_PLACE, f"name {name}": ON_ONE_NAME}
