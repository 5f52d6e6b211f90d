"""Serves the page: gunicorn's threads behind the front, in one process, in which the master runs as well.

gunicorn's arbiter is left out. It would start this one worker from a process of its own, 63 MB with a thousand workers
watched, and start it again after a fault, which `gpumon up`, systemd and containers do for every part.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gunicorn.app.base
import gunicorn.arbiter
import gunicorn.glogging
import gunicorn.sock
import gunicorn.workers.gthread

from gpumon.errors import GpumonError, StartError
from webui.front import Front
from webui.front_connection import Peer

logger = logging.getLogger(__name__)

BACKLOG = 512
IDLE_CONNECTIONS = 1000
STOP_TIMEOUT_S = 6
# What is not ended by then is cut off.
GIVE_UP_S = STOP_TIMEOUT_S + 4


class Served(Protocol):
    """What is served."""

    def start(self) -> Any:
        """Start everything and return the WSGI application. Raises GpumonError."""

    def close_connections(self) -> None:
        """End the live connections, which would hold up a stop."""

    def stop(self) -> None:
        """Stop everything."""


def serve(
    served: Served,
    host: str,
    port: int,
    threads: int,
    *,
    tls: ssl.SSLContext | None = None,
    scheme: str | None = None,
    most_per_address: int | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP.

    `scheme` is what browsers use where that is not what is spoken here: https before a proxy. `most_per_address` bounds
    the connections of one address, this machine's excepted. Raises StartError: when the address cannot be listened on.
    SystemExit: when what is served could not be started, which is then logged.
    """
    listener = _listen(host, port)
    front = Front(tls, threads + IDLE_CONNECTIONS, most_per_address)
    scheme = scheme or ("http" if tls is None else "https")
    _Application(served, listener, front, threads, scheme).run()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise StartError(
            f"the page cannot listen on {host} port {port} ({error.strerror}): choose another with --port or --host"
        ) from error
    return listener


class _Application(gunicorn.app.base.BaseApplication):  # type: ignore[misc]
    """gunicorn's settings, without what is not needed: access log, control socket, several processes."""

    def __init__(self, served: Served, listener: socket.socket, front: Front, threads: int, scheme: str) -> None:
        self.served = served
        self.front = front
        self._listener = listener
        self._threads = threads
        self._scheme = scheme
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "threads": self._threads,
            "worker_class": PageWorker,
            # What the front lets through at most, so that gunicorn, which counts requests alone, never holds it up.
            "worker_connections": 2 * (self._threads + IDLE_CONNECTIONS),
            "keepalive": 0,  # the front keeps connections
            # No header of a client says by which scheme, address or path it came.
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "graceful_timeout": STOP_TIMEOUT_S,
            "backlog": BACKLOG,
            "logger_class": QuietLog,
            "proc_name": "gpumon-page",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def run(self) -> None:
        """Serve in this process."""
        log = QuietLog(self.cfg)
        PageWorker(1, os.getppid(), gunicorn.sock.create_sockets(self.cfg, log), self, 0, self.cfg, log).init_process()

    def load(self) -> Any:
        """Start what is served."""
        try:
            return WithScheme(self.served.start(), self._scheme)
        except GpumonError as error:
            logger.error(str(error))
            raise SystemExit(gunicorn.arbiter.Arbiter.WORKER_BOOT_ERROR) from error


class WithScheme:
    """Tells the application how browsers reach it, whatever a request says of that."""

    def __init__(self, inner: Callable[..., Iterable[bytes]], scheme: str) -> None:
        self._inner = inner
        self._scheme = scheme

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Pass the request on."""
        environ["wsgi.url_scheme"] = self._scheme
        return self._inner(environ, start_response)


class PageWorker(gunicorn.workers.gthread.ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, whose connections come from the front: each with one request that is there whole.

    On SIGTERM it does not wait for browsers that would stay for days.
    """

    _accepting: bool

    def init_signals(self) -> None:
        """Stop also when the terminal is closed, unless whoever started this has said otherwise (nohup)."""
        hang_up = signal.getsignal(signal.SIGHUP)
        super().init_signals()
        signal.signal(signal.SIGHUP, hang_up if hang_up is signal.SIG_IGN else self.handle_exit)

    def notify(self) -> None:
        """Touch no file as a heartbeat: no arbiter looks at it."""

    def is_parent_alive(self) -> bool:
        """Serve on where whoever started this has ended: it is no worker of an arbiter."""
        return True

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop serving; live and idle connections are ended, requests in work are finished."""
        super().handle_exit(sig, frame)
        signal.alarm(GIVE_UP_S)  # whose signal ends the process
        self.method_queue.defer(self.app.served.close_connections)

    # Ctrl-C reaches every process of the terminal at once: an orderly stop is quick enough for it.
    handle_quit = handle_exit

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            super().run()
        finally:
            self.app.served.close_connections()
            self.app.front.stop()
            self.app.served.stop()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
        """Let the front accept, once, and no more when this worker stops."""
        if enabled and not self._accepting:
            self.app.front.start(self.sockets[0].sock, self._take_over)
        elif not enabled:
            self.app.front.drain()
        self._accepting = enabled

    def _take_over(self, connection: socket.socket, peer: Peer) -> None:
        self.method_queue.defer(self._enqueue, connection, peer)

    def _enqueue(self, connection: socket.socket, peer: Peer) -> None:
        self.nr_conns += 1
        server = self.sockets[0].getsockname()
        self.enqueue_req(gunicorn.workers.gthread.TConn(self.cfg, connection, peer, server))


class QuietLog(gunicorn.glogging.Logger):  # type: ignore[misc]
    """gunicorn's log as part of ours: warnings and errors, no line for each request."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        """Send warnings and errors on to the root logger."""
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
        self.access_log.setLevel(logging.CRITICAL)
