"""Who is logged in: sessions in a signed cookie, checked against the accounts, and a brake on guessing passwords."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

import flask

from gpumon.errors import GpumonError
from gpumon.roles import Principal, Role
from master.accounts import Accounts

MAY_LOG_IN = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
MAY_RUN = frozenset({Role.OPERATOR, Role.ADMIN})

FREE_ATTEMPTS = 5
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
FORGOTTEN_AFTER_S = 900.0
MOST_REMEMBERED = 10_000
MOST_CHECKS_AT_ONCE = 2
ROLES_READ_EVERY_S = 1.0


class Sessions:
    """Opens, checks and ends the session of the present request."""

    def __init__(self, accounts: Accounts, hours: float) -> None:
        self._accounts = accounts
        self._lifetime_s = hours * 3600
        self._checks = threading.Semaphore(MOST_CHECKS_AT_ONCE)  # argon2 takes tens of megabytes each time
        self._roles: dict[str, Role] = {}
        self._roles_read = float("-inf")
        self._roles_lock = threading.Lock()

    def log_in(self, name: str, password: str) -> Principal | None:
        """Open a session for a person; None where name and password are no person's."""
        with self._checks:
            principal = self._accounts.authenticate(name, password)
        if principal is None or principal.role not in MAY_LOG_IN:
            return None
        flask.session.clear()
        flask.session.permanent = True
        flask.session["name"] = principal.name
        flask.session["until"] = time.time() + self._lifetime_s
        with self._roles_lock:
            self._roles_read = float("-inf")  # the account may be newer than what was read
        return principal

    def log_out(self) -> None:
        """End the session."""
        flask.session.clear()

    def principal(self) -> Principal | None:
        """Return who the session belongs to, with the role that the account has now; None where nobody is logged in."""
        name = flask.session.get("name")
        if not isinstance(name, str) or self.ends_at() <= time.time():
            return None
        role = self._role(name)
        return Principal(name, role) if role in MAY_LOG_IN else None

    def may_watch(self, name: str) -> bool:
        """Tell whether the account of this name is still there and may use the page."""
        return self._role(name) in MAY_LOG_IN

    def ends_at(self) -> float:
        """Return when the session ends, in seconds since 1970."""
        until = flask.session.get("until")
        return float(until) if isinstance(until, int | float) else 0.0

    def _role(self, name: str) -> Role | None:
        with self._roles_lock:
            if time.monotonic() - self._roles_read > ROLES_READ_EVERY_S:
                self._roles_read = time.monotonic()
                with contextlib.suppress(GpumonError):  # a database that cannot be read logs nobody out
                    self._roles = {user.name: user.role for user in self._accounts.users()}
            return self._roles.get(name)


def form_token() -> str:
    """Return the token that forms of this session carry, so that no other site can send them."""
    token = flask.session.get("csrf")
    if not isinstance(token, str):
        token = secrets.token_urlsafe(24)
        flask.session["csrf"] = token
    return token


def form_is_ours() -> bool:
    """Tell whether the form in this request carries its session's token."""
    kept, given = flask.session.get("csrf"), flask.request.form.get("csrf", "")
    return isinstance(kept, str) and hmac.compare_digest(kept.encode(), given.encode())


class LoginThrottle:
    """After a few failures, each further one makes the same address or name wait twice as long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str, name: str) -> float:
        """Return how many seconds this address and name still have to wait, 0 where they need not."""
        now = self._clock()
        with self._lock:
            return max(self._wait_of(key, now) for key in _keys(address, name))

    def failed(self, address: str, name: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            if len(self._failures) > MOST_REMEMBERED:
                self._failures = {
                    key: kept for key, kept in self._failures.items() if now - kept[1] < FORGOTTEN_AFTER_S
                }
            for key in _keys(address, name):
                count, last = self._failures.get(key, (0, now))
                self._failures[key] = (1 if now - last > FORGOTTEN_AFTER_S else count + 1, now)

    def succeeded(self, address: str, name: str) -> None:
        """Forget the failures."""
        with self._lock:
            for key in _keys(address, name):
                self._failures.pop(key, None)

    def _wait_of(self, key: str, now: float) -> float:
        count, last = self._failures.get(key, (0, now))
        if count < FREE_ATTEMPTS:
            return 0.0
        pause = min(FIRST_WAIT_S * 2.0 ** min(count - FREE_ATTEMPTS, 20), LONGEST_WAIT_S)
        return max(last + pause - now, 0.0)


def _keys(address: str, name: str) -> tuple[str, str]:
    return f"address {address}", f"name {name} at {address}"
