"""Serves the page: gunicorn with one process of many threads, in which the master runs as well."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any, Protocol

import gunicorn.app.base
import gunicorn.arbiter
import gunicorn.glogging
import gunicorn.workers.gthread

from gpumon.errors import GpumonError, StartError

logger = logging.getLogger(__name__)

BACKLOG = 512
KEEP_ALIVE_S = 30
IDLE_CONNECTIONS = 1000
STOP_TIMEOUT_S = 6
# Where gunicorn keeps its heartbeat, so that a slow disk cannot stall it.
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # nosec B108


class Served(Protocol):
    """What is served: started in the process that serves, after the fork."""

    def start(self) -> Any:
        """Start everything and return the WSGI application. Raises GpumonError."""

    def close_connections(self) -> None:
        """End the live connections, which would hold up a stop."""

    def stop(self) -> None:
        """Stop everything."""


def serve(served: Served, host: str, port: int, threads: int) -> None:
    """Serve until SIGTERM or SIGINT, then end the process with SystemExit.

    Raises StartError: when the address cannot be listened on.
    """
    listener = _listen(host, port)
    _Application(served, listener, threads).run()


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

    def __init__(self, served: Served, listener: socket.socket, threads: int) -> None:
        self.served = served
        self._listener = listener
        self._threads = threads
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": 1,
            "threads": self._threads,
            "worker_class": PageWorker,
            "worker_connections": self._threads + IDLE_CONNECTIONS,
            "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": STOP_TIMEOUT_S,
            "timeout": 60,
            "backlog": BACKLOG,
            "logger_class": QuietLog,
            "proc_name": "gpumon-page",
            "control_socket_disable": True,
        }
        if os.access(SHARED_MEMORY, os.W_OK):
            settings["worker_tmp_dir"] = SHARED_MEMORY
        for name, value in settings.items():
            if name in self.cfg.settings:  # control sockets came with gunicorn 25
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Start what is served, in the process that serves it."""
        try:
            return self.served.start()
        except GpumonError as error:
            logger.error(str(error))
            raise SystemExit(gunicorn.arbiter.Arbiter.WORKER_BOOT_ERROR) from error


class PageWorker(gunicorn.workers.gthread.ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, which on SIGTERM does not wait for browsers that would stay for days."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop serving; live and idle connections are ended, requests in work are finished."""
        super().handle_exit(sig, frame)
        self.method_queue.defer(self._end_connections)

    # Ctrl-C reaches every process of the terminal at once: an orderly stop is quick enough for it.
    handle_quit = handle_exit

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            super().run()
        finally:
            self.app.served.close_connections()
            self.app.served.stop()

    def _end_connections(self) -> None:
        self.app.served.close_connections()
        self.murder_keepalived(force=True)


class QuietLog(gunicorn.glogging.Logger):  # type: ignore[misc]
    """gunicorn's log as part of ours: warnings and errors, no line for each request."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        """Send warnings and errors on to the root logger."""
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
        self.access_log.setLevel(logging.CRITICAL)
