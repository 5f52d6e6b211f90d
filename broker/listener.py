"""Where the broker listens; what is allowed never depends on the listener that a client came by."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass

from gpumon.errors import StartError


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is bound, and TLS on it or not."""

    name: str
    socket: socket.socket
    tls: ssl.SSLContext | None = None


def open_listener(name: str, host: str, port: int, flag: str) -> Listener:
    """Bind a TCP port.

    Raises StartError: where it cannot be bound; names `flag`, with which another port is chosen.
    """
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()  # tells of a port in use on which nobody has listened yet
    except OSError as error:
        bound.close()
        reasons = {
            errno.EADDRINUSE: f"is in use: stop what listens there, or choose another port with {flag}",
            errno.EACCES: f"may not be opened by this user: choose a port above 1023 with {flag}",
        }
        reason = reasons.get(error.errno or 0, f"cannot be opened ({error.strerror}): choose another with {flag}")
        raise StartError(f"port {port} on {host} {reason}") from error
    return Listener(name, bound)
