"""A front with a small application behind it, in this process: a thread for each request."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from broker.certificates import AUTHORITY_FILE, ensure_server_certificate
from broker.server_tls import server_context
from webui.front import Front
from webui.front_connection import Peer

Answer = Callable[[socket.socket, bytes, Peer], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def answer_ok(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
    """Answer what every application answers most."""
    connection.sendall(OK)


class RunningFront:
    """A front that serves, and what it has handed over."""

    def __init__(self, front: Front, port: int, answer: Answer) -> None:
        self.front = front
        self.port = port
        self.requests: list[bytes] = []
        self.peers: list[Peer] = []
        self._answer = answer

    def hand_over(self, connection: socket.socket, peer: Peer) -> None:
        """Answer a request in a thread of its own."""
        threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def connect(self) -> socket.socket:
        """Return a connection to the front, without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def get(self, path: str = "/") -> bytes:
        """Return the whole answer to one plain request."""
        with self.connect() as connection:
            return ask(connection, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setblocking(True)
            request = connection.recv(128 * 1024)
            self.requests.append(request)
            self.peers.append(peer)
            self._answer(connection, request, peer)


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send something and return everything that comes until the connection ends."""
    connection.sendall(request)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(64 * 1024):
            received += data
    return received


@contextlib.contextmanager
def front(
    answer: Answer = answer_ok,
    *,
    tls: ssl.SSLContext | None = None,
    most: int = 500,
    most_per_address: int | None = None,
) -> Iterator[RunningFront]:
    """Run a front until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    running = RunningFront(Front(tls, most, most_per_address), listener.getsockname()[1], answer)
    running.front.start(listener, running.hand_over)
    try:
        yield running
    finally:
        running.front.stop()
        listener.close()


def server_and_client_tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context to serve 127.0.0.1 with, and one that verifies it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    pem = ensure_server_certificate(folder, ["127.0.0.1"], now)
    server = server_context()
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(folder / AUTHORITY_FILE))


def receive(connection: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes, fewer where the connection ends."""
    received = b""
    while len(received) < size and (data := connection.recv(size - len(received))):
        received += data
    return received


def echo(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
    connection.sendall(UPGRADED)
    while data := connection.recv(64 * 1024):
        connection.sendall(data)
