"""Who is connected live, for as long as they would be let in as they were; and the gate before those connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import flask

from webui.guard import Guard
from webui.sessions import Sessions, Visitor
from webui.transport import RoomManager

NAMESPACE = "/"
SOCKETS = "/socket.io/"


class Viewers:
    """Everybody who is connected, by Socket.IO's session id."""

    def __init__(self, manager: RoomManager, sessions: Sessions) -> None:
        self._manager = manager
        self._sessions = sessions
        self._by_sid: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def add(self, sid: str, visitor: Visitor, most: int) -> bool:
        """Let somebody in; False where there are as many as may be."""
        with self._lock:
            if len(self._by_sid) >= most:
                return False
            self._by_sid[sid] = visitor
            return True

    def count(self) -> int:
        """Return how many are connected."""
        return len(self._by_sid)

    def remove(self, sid: str) -> None:
        """Forget somebody who has left."""
        with self._lock:
            self._by_sid.pop(sid, None)

    def in_use(self, engine_sid: str) -> bool | None:
        """Tell whether a connection carries a viewer whose session, role and limit are still those it came with.

        None where it carries none: not yet, or not any more.
        """
        visitor = self._by_sid.get(self._manager.sid_from_eio_sid(engine_sid, NAMESPACE))
        return None if visitor is None else self._sessions.is_still(visitor)


class OnlyOurs:
    """Refuses live connections of other sites, and of who is not logged in, before they hold a thread."""

    def __init__(self, app: flask.Flask, inner: Callable[..., Any], guard: Guard, headers: Mapping[str, str]) -> None:
        self._app = app
        self._inner = inner
        self._guard = guard
        self._headers = list(headers.items())

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Pass the request on, or answer 403."""
        if not environ.get("PATH_INFO", "").startswith(SOCKETS):
            return cast("Iterable[bytes]", self._inner(environ, start_response))

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *self._headers], *more)

        with self._app.request_context(environ):
            problem = self._guard.socket_problem()
        if problem is not None:
            start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
            return [problem.encode()]
        return cast("Iterable[bytes]", self._inner(environ, start))
