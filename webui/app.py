"""The page as a whole: the Flask application with Socket.IO over a master."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import flask
import flask.sessions
import flask_socketio

from gpumon.settings import Settings
from master.master import Master
from webui import api, auth, history_api, pages
from webui.context import EXTENSION, PageContext
from webui.live import Live, LiveNamespace, Rooms, Viewers
from webui.sessions import LoginThrottle, Sessions
from webui.transport import (
    MAX_RECEIVED_BYTES,
    PING_INTERVAL_S,
    PING_TIMEOUT_S,
    Connections,
    Json,
    OnlyLoggedIn,
    RoomManager,
)

STATIC = Path(__file__).parent / "static"
MAX_FORM_BYTES = 16 * 1024

# No inline script or style, nothing from elsewhere, never inside another page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class WebUi:
    """The page over a master: what `webui.server.serve` runs. Constructing it does nothing."""

    def __init__(self, master: Master, settings: Settings, secret_key: str) -> None:
        self._master = master
        self._settings = settings
        self._secret_key = secret_key
        self._live: Live | None = None

    def start(self) -> flask.Flask:
        """Start the master and what pushes live updates; return the application to serve.

        Raises GpumonError: when the master cannot start.
        """
        self._master.start()
        app, self._live = create_app(self._master, self._settings, self._secret_key)
        self._live.start()
        return app

    def close_connections(self) -> None:
        """End all live connections, so that the server need not wait for them."""
        if self._live is not None:
            self._live.connections.stop()

    def stop(self) -> None:
        """Stop what `start` started."""
        if self._live is not None:
            self._live.stop()
        self._master.stop()


def create_app(master: Master, settings: Settings, secret_key: str) -> tuple[flask.Flask, Live]:
    """Build the application and what pushes its live updates; nothing runs yet."""
    app = flask.Flask("webui", root_path=str(STATIC.parent), static_folder=None)
    app.secret_key = secret_key
    app.session_interface = CookieSessions()
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_FORM_BYTES,
        PERMANENT_SESSION_LIFETIME=settings.page.session_hours * 3600,
        SESSION_COOKIE_NAME="gpumon",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    for part in (auth, pages, api, history_api):
        app.register_blueprint(part.blueprint)
    app.after_request(_secured)

    manager = RoomManager()
    sessions = Sessions(master.accounts, settings.page.session_hours)
    viewers = Viewers(manager, sessions)
    connections = Connections(viewers.in_use)
    version, modules = _static_files()
    app.extensions[EXTENSION] = PageContext(master, settings, sessions, LoginThrottle(), version, modules)

    socketio = _socketio(app, manager, connections)
    live = Live(master, Rooms(socketio, manager), connections)
    socketio.on_namespace(LiveNamespace(live, viewers))
    app.wsgi_app = OnlyLoggedIn(app, app.wsgi_app, sessions)  # type: ignore[method-assign]
    return app, live


def _socketio(app: flask.Flask, manager: RoomManager, connections: Connections) -> flask_socketio.SocketIO:
    quiet = logging.getLogger("webui.socketio")
    quiet.setLevel(logging.ERROR)
    socketio = flask_socketio.SocketIO(
        app,
        async_mode="threading",
        client_manager=manager,
        json=Json,
        manage_session=False,
        transports=["websocket"],
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_http_buffer_size=MAX_RECEIVED_BYTES,
        logger=quiet,
        engineio_logger=quiet,
    )
    connections.carry(socketio.server)
    return socketio


class CookieSessions(flask.sessions.SecureCookieSessionInterface):
    """Flask's signed cookie, which goes over TLS alone where it was set over TLS."""

    def get_cookie_secure(self, app: flask.Flask) -> bool:  # noqa: ARG002 - the name and arguments are Flask's
        """Tell whether the cookie is for TLS alone."""
        return flask.request.is_secure


def _secured(response: flask.Response) -> flask.Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def _static_files() -> tuple[str, tuple[str, ...]]:
    """Return a version that changes with any static file, and the script modules, for the browser to load at once."""
    digest = hashlib.sha256()
    modules = []
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            name = path.relative_to(STATIC).as_posix()
            digest.update(name.encode() + path.read_bytes())
            if path.suffix == ".js":
                modules.append(name)
    return digest.hexdigest()[:12], tuple(modules)
