"""Where the broker listens; what is allowed never depends on the listener that a client came by."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.limits import plain_address
from gpumon.errors import StartError

logger = logging.getLogger(__name__)

PENDING_CONNECTIONS = 4096  # the system's own bound, net.core.somaxconn, may be lower
ACCEPTED_AT_ONCE = 32
PAUSE_S = 0.05
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is bound, and TLS on it or not."""

    name: str
    socket: socket.socket
    tls: ssl.SSLContext | None = None


def open_listeners(name: str, host: str, port: int, flag: str, tls: ssl.SSLContext | None = None) -> list[Listener]:
    """Bind a TCP port on a host: an IPv4 or IPv6 address (`::` takes both kinds), or a name with its addresses.

    Raises StartError: where it cannot be bound; names `flag`, with which another port is chosen.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"--host {host} is no address of this machine ({error.strerror})") from error
    listeners: list[Listener] = []
    try:
        for family, address in sorted({(family, address) for family, _, _, _, address in found}, key=str):
            listeners.append(Listener(name, _bind(family, address), tls))
    except OSError as error:
        for listener in listeners:
            listener.socket.close()
        reasons = {
            errno.EADDRINUSE: f"is in use: stop what listens there, or choose another port with {flag}",
            errno.EACCES: f"may not be opened by this user: choose a port above 1023 with {flag}",
            errno.EADDRNOTAVAIL: "cannot be opened: this machine has no such address, choose another with --host",
        }
        reason = reasons.get(error.errno or 0, f"cannot be opened ({error.strerror}): choose another with {flag}")
        raise StartError(f"port {port} on {host} {reason}") from error
    return listeners


def _bind(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        bound.bind(address)
        bound.listen(PENDING_CONNECTIONS)  # tells of a port in use on which nobody has listened yet
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _notice_death(connection: socket.socket) -> None:
    """Have the system find out within two minutes that the other machine is gone: a client may have no keepalive."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Acceptor:
    """Takes connections off a listening socket while `is_open` says so; else they wait in the system's queue.

    asyncio's own servers take whatever comes, and show a client only when its TLS handshake is done: thousands that do
    not even begin one would not be seen.
    """

    def __init__(
        self,
        listener: Listener,
        is_open: Callable[[], bool],
        on_connection: Callable[[Listener, socket.socket, str], None],
        on_exhaustion: Callable[[], object],
    ) -> None:
        self._listener = listener
        self._is_open = is_open
        self._on_connection = on_connection
        self._on_exhaustion = on_exhaustion
        self._loop = asyncio.get_running_loop()
        self._resumption: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to take connections."""
        self._resumption = None
        self._loop.add_reader(self._listener.socket.fileno(), self._accept)

    def stop(self) -> None:
        """Take no more, and close the socket."""
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        if self._listener.socket.fileno() >= 0:
            self._loop.remove_reader(self._listener.socket.fileno())
            self._listener.socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._is_open():
                self._pause()
                return
            try:
                connection, address = self._listener.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._on_exhaustion()
                self._pause()
                return
            connection.setblocking(False)
            _notice_death(connection)
            self._on_connection(self._listener, connection, plain_address(str(address[0])))

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener.socket.fileno())
        self._resumption = self._loop.call_later(PAUSE_S, self.start)
