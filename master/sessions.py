"""Log-ins on the page: kept here, so that one is ended for good and not only forgotten by its browser.

A session ends by itself after `page.session_hours`, used or not, and not before: a page that hangs on a wall is used
without a click. It ends with a log-out, with its account or the password of that, and when its owner or an admin says
so.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from gpumon.errors import GpumonError
from master.audit import Actor, add_entry
from master.passwords import token_digest
from master.store.engine import Store
from master.store.models import SessionRow

SHOWN_CHARACTERS = 16
LONGEST_BROWSER = 256


class SessionError(GpumonError):
    """A session that is not there; the message says so."""

    see = "troubleshooting.md#an-account-cannot-be-changed"


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in: `id` names it (the secret in the cookie cannot be told from it); times in seconds since 1970."""

    id: str
    user_name: str
    created: float
    expires: float
    last_seen: float
    address: str
    browser: str


class PageSessions:
    """Opens, lists and ends sessions. Every method raises StoreError where the database does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, user_name: str, lifetime_s: float, address: str, browser: str) -> str:
        """Open a session and return its secret, which is not kept; ended ones are cleared away."""
        secret, now = secrets.token_urlsafe(32), time.time()
        id_sha256 = token_digest(secret)
        row = {
            "id_sha256": id_sha256,
            "user_name": user_name,
            "created": now,
            "expires": now + lifetime_s,
            "last_seen": now,
            "address": address,
            "browser": browser[:LONGEST_BROWSER],
        }
        with self._store.write() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.expires < now))
            connection.execute(insert(SessionRow).values(row))
            add_entry(connection, Actor(user_name, "page", address), "login", shown_id(id_sha256))
        return secret

    def close(self, secret: str, by: Actor) -> None:
        """End the session with this secret, because its owner logs out; one that has ended is let be."""
        with self._store.write() as connection:
            statement = delete(SessionRow).where(SessionRow.id_sha256 == token_digest(secret))
            if connection.execute(statement).rowcount:
                add_entry(connection, by, "logout", shown_id(token_digest(secret)))

    def of(self, user_name: str) -> list[Session]:
        """Return a person's sessions, the one used last first."""
        query = select(SessionRow.__table__).where(SessionRow.user_name == user_name, SessionRow.expires > time.time())
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(SessionRow.last_seen.desc())).all()
        return [
            Session(
                id=shown_id(row.id_sha256),
                user_name=row.user_name,
                created=row.created,
                expires=row.expires,
                last_seen=row.last_seen,
                address=row.address,
                browser=row.browser,
            )
            for row in rows
        ]

    def counts(self) -> dict[str, int]:
        """Return how many sessions each person has who has one."""
        query = select(SessionRow.user_name).where(SessionRow.expires > time.time())
        with self._store.read() as connection:
            names = [row.user_name for row in connection.execute(query)]
        return {name: names.count(name) for name in set(names)}

    def end(self, session_id: str, user_name: str, by: Actor) -> None:
        """End one of a person's sessions. Raises SessionError: where that person has none of this id."""
        with self._store.write() as connection:
            named = func.substr(SessionRow.id_sha256, 1, SHOWN_CHARACTERS) == session_id
            if connection.execute(delete(SessionRow).where(SessionRow.user_name == user_name, named)).rowcount == 0:
                raise SessionError(f"there is no session {session_id!r}: it may have ended already")
            add_entry(connection, by, "session.ended", user_name, sessions=[session_id])

    def end_all(self, user_name: str, by: Actor) -> int:
        """End all of a person's sessions and return how many those were."""
        with self._store.write() as connection:
            return end_sessions(connection, user_name, by)


def end_sessions(connection: Connection, user_name: str, by: Actor, but: str | None = None) -> int:
    """End all sessions of a person but the one with this id, and return how many those were."""
    query = select(SessionRow.id_sha256).where(SessionRow.user_name == user_name)
    kept = [row.id_sha256 for row in connection.execute(query)]
    ended = [id_sha256 for id_sha256 in kept if shown_id(id_sha256) != but]
    for id_sha256 in ended:
        connection.execute(delete(SessionRow).where(SessionRow.id_sha256 == id_sha256))
    if ended:
        add_entry(connection, by, "session.ended", user_name, sessions=[shown_id(each) for each in ended])
    return len(ended)


def shown_id(id_sha256: str) -> str:
    """Return by what a session is named to people."""
    return id_sha256[:SHOWN_CHARACTERS]
