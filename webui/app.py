"""The page as a whole: the Flask application with Socket.IO over a master."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import flask
import flask.sessions
import flask_socketio
import flask_wtf

from gpumon.settings import Settings
from master.master import Master
from webui import (
    api,
    api_account,
    api_admin,
    api_alert_channels,
    api_alert_rules,
    api_alerts,
    api_audit,
    api_commands,
    api_description,
    api_gathered,
    api_history,
    api_joining,
    api_usage,
    auth,
    errors,
    metrics,
    pages,
)
from webui.access import check_declared
from webui.context import EXTENSION, JoinLineOf, PageContext
from webui.failed_logins import FailedLogins
from webui.guard import Guard, Origins
from webui.live import Live, LiveNamespace, Rooms
from webui.metrics_exposition import Exposition
from webui.sessions import Sessions
from webui.throttle import KnownBrowsers, LoginThrottle
from webui.transport import MAX_RECEIVED_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S, Connections, Json, RoomManager
from webui.viewers import OnlyOurs, Viewers
from webui.wrong_tokens import WrongTokens

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
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would send forms without their origin
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class WebUi:
    """The page over a master: what `webui.server.serve` runs. Constructing it does nothing."""

    def __init__(
        self, master: Master, settings: Settings, secret_key: str, join_line: JoinLineOf | None = None
    ) -> None:
        """Take what makes join lines, None where the page can make none."""
        self._join_line = join_line
        self._master = master
        self._settings = settings
        self._secret_key = secret_key
        self._live: Live | None = None

    def start(self) -> flask.Flask:
        """Start the master and what pushes live updates; return the application to serve.

        Raises GpumonError: when the master cannot start.
        """
        self._master.start()
        app, self._live = create_app(self._master, self._settings, self._secret_key, self._join_line)
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


def create_app(
    master: Master, settings: Settings, secret_key: str, join_line: JoinLineOf | None = None
) -> tuple[flask.Flask, Live]:
    """Build the application and what pushes its live updates; nothing runs yet.

    Raises UndeclaredError: for a route or event that does not declare who may ask for it.
    """
    app = flask.Flask("webui", root_path=str(STATIC.parent), static_folder=None)
    app.secret_key = secret_key
    app.session_interface = CookieSessions()
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_FORM_BYTES,
        PERMANENT_SESSION_LIFETIME=settings.page.session_hours * 3600,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_FIELD_NAME="csrf",
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_CHECK_DEFAULT=False,  # the guard does, for every route
        WTF_CSRF_SSL_STRICT=False,  # the guard looks at the origin, behind a proxy too
    )
    sessions = Sessions(master.accounts, master.last_uses, settings.page.session_hours)
    guard = Guard(sessions, Origins(settings), flask_wtf.CSRFProtect(app), WrongTokens(master.audit))
    app.before_request(guard.check)
    app.after_request(_secured)
    shown = (auth, pages, api, api_commands, api_gathered, api_history, api_usage, metrics)
    for part in (
        *shown,
        api_account,
        api_admin,
        api_alert_channels,
        api_alert_rules,
        api_alerts,
        api_audit,
        api_description,
        api_joining,
    ):
        app.register_blueprint(part.blueprint)
    errors.register(app)

    manager = RoomManager()
    viewers = Viewers(manager, sessions)
    connections = Connections(viewers.in_use)
    exposition = Exposition(master, viewers.count)
    exposition.listen()
    version, modules = _static_files()
    app.extensions[EXTENSION] = PageContext(
        master=master,
        settings=settings,
        sessions=sessions,
        throttle=LoginThrottle(),
        known_browsers=KnownBrowsers(secret_key),
        failed_logins=FailedLogins(master.audit),
        join_line=join_line,
        static_version=version,
        modules=modules,
        exposition=exposition,
    )

    socketio = _socketio(app, manager, connections)
    live = Live(master, Rooms(socketio, manager), connections)
    namespace = LiveNamespace(live, viewers)
    socketio.on_namespace(namespace)
    check_declared(app, namespace.handlers())
    app.wsgi_app = OnlyOurs(app, app.wsgi_app, guard, HEADERS)  # type: ignore[method-assign]
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
        cors_allowed_origins=_allowed_before,
        async_handlers=False,  # one after the other, so that no browser can have a thousand threads work for it
        transports=["websocket"],
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        max_http_buffer_size=MAX_RECEIVED_BYTES,
        logger=quiet,
        engineio_logger=quiet,
    )
    connections.carry(socketio.server)
    return socketio


def _allowed_before(_origin: str, _environ: object) -> bool:
    """Answer engineio, which asks about the origin as well: `OnlyOurs` has let none but ours through."""
    return True


class CookieSessions(flask.sessions.SecureCookieSessionInterface):
    """Flask's signed cookie; over TLS under a name that browsers take from this very host over TLS alone."""

    def get_cookie_name(self, app: flask.Flask) -> str:  # noqa: ARG002 - the name and arguments are Flask's
        """Return the cookie's name."""
        return "__Host-gpumon" if flask.request.is_secure else "gpumon"

    def get_cookie_secure(self, app: flask.Flask) -> bool:  # noqa: ARG002 - the same
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
