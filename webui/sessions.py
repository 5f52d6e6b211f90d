"""Who asks: by the session that the cookie names, or by an API token in the header `Authorization`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import flask

from gpumon.roles import Principal, Role
from master.account_reader import AccountsUnreadableError
from master.account_snapshot import AccountSnapshot
from master.accounts import Accounts
from master.audit import Actor
from master.last_uses import LastUses
from master.passwords import is_api_token, token_digest
from master.sessions import shown_id
from webui.access import READERS
from webui.throttle import PasswordQueue

MAY_LOG_IN = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
SESSION_SECRET = "secret"  # noqa: S105 - the name of a field  # nosec B105


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who makes the present request; `session` is what is kept of the session's secret, None for an API token."""

    principal: Principal
    address: str
    session: str | None

    @property
    def by_token(self) -> bool:
        """Whether this is a program with an API token."""
        return self.session is None

    @property
    def session_id(self) -> str | None:
        """By what the session is named to people."""
        return None if self.session is None else shown_id(self.session)

    @property
    def actor(self) -> Actor:
        """Who this is in the audit."""
        return Actor(self.principal.name, "api" if self.by_token else "page", self.address)


class Sessions:
    """Opens, finds and ends the session of the present request."""

    def __init__(self, accounts: Accounts, uses: LastUses, hours: float) -> None:
        self._accounts = accounts
        self._directory = accounts.directory
        self._store = accounts.sessions
        self._uses = uses
        self._lifetime_s = hours * 3600
        self.queue = PasswordQueue()
        self._last_read: AccountSnapshot | None = None
        self._lock = threading.Lock()

    def log_in(self, name: str, password: str) -> Principal | None:
        """Open a session for a person; None where name and password are no person's.

        It is always a new one, with a new secret, and an earlier one of this browser ends. Raises BusyError, and
        StoreError where the session cannot be kept.
        """
        with self.queue.place():
            principal = self._accounts.authenticate(name, password)
        if principal is None or principal.role not in MAY_LOG_IN:
            return None
        address = flask.request.remote_addr or "?"
        self._close(Actor(None, "page", address))
        browser = _printable(flask.request.headers.get("User-Agent", ""))
        secret = self._store.open(principal.name, self._lifetime_s, address, browser)
        flask.session.clear()
        flask.session.permanent = True
        flask.session[SESSION_SECRET] = secret
        return principal

    def known_name(self, name: str) -> str | None:
        """Return the name if somebody who may log in on the page has it."""
        try:
            return name if name in self._directory.snapshot().people else None
        except AccountsUnreadableError:
            return None

    def is_password_of(self, name: str, password: str) -> bool:
        """Tell whether this is the person's password. Raises BusyError."""
        with self.queue.place():
            principal = self._accounts.authenticate(name, password)
        return principal is not None and principal.role in MAY_LOG_IN

    def log_out(self) -> None:
        """End the session for good. Raises StoreError: when it cannot be ended now."""
        found = self.visitor()
        self._close(found.actor if found is not None else Actor(None, "page"))
        flask.session.clear()

    def visitor(self) -> Visitor | None:
        """Return who makes this request, None where that is nobody.

        A request that shows an API token is judged by that alone, whatever cookie comes with it.
        """
        address = flask.request.remote_addr or "?"
        token = _bearer_token()
        if token is not None:
            principal = self._directory.token_owner(token)
            if principal is None or principal.role not in READERS:
                return None
            self._uses.token(principal.credential)
            return Visitor(principal, address, None)
        secret = flask.session.get(SESSION_SECRET)
        if not isinstance(secret, str):
            return None
        session = token_digest(secret)
        principal = self._in_session(session)
        if principal is None:
            return None
        self._uses.session(session)
        return Visitor(principal, address, session)

    def is_still(self, visitor: Visitor) -> bool:
        """Tell whether this visitor would be let in as the same now: the session has not ended, role and limit stay."""
        return visitor.session is not None and self._in_session(visitor.session) == visitor.principal

    def _in_session(self, session: str) -> Principal | None:
        try:
            snapshot = self._directory.snapshot()
        except AccountsUnreadableError:
            snapshot = None
        with self._lock:
            if snapshot is None:  # a database that cannot be read logs nobody out
                snapshot = self._last_read
            else:
                self._last_read = snapshot
        principal = None if snapshot is None else snapshot.in_session(session)
        return principal if principal is not None and principal.role in MAY_LOG_IN else None

    def _close(self, by: Actor) -> None:
        secret = flask.session.get(SESSION_SECRET)
        if isinstance(secret, str):
            self._store.close(secret, by)


def shows_token() -> bool:
    """Tell whether the present request shows an API token, one that is known or not."""
    return _bearer_token() is not None


def _bearer_token() -> str | None:
    """Return the token that the request shows, None where it shows none; one of no form is an empty one."""
    header = flask.request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":  # a proxy's own log-in, for one
        return None
    return token.strip() if is_api_token(token.strip()) else ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
