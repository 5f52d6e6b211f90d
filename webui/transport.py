"""How live connections are carried: WebSockets that cannot hurt others, and JSON by msgspec.

python-socketio and engineio queue what a browser has not read yet without a bound, and simple-websocket writes to one
socket from two threads and ends only when its peer does. This file is the one place that mends it:

- what waits for one browser is counted in bytes, and a browser beyond `MAX_WAITING_BYTES`, or twice the largest message
  where the fleet's picture alone is larger, is cut off (it connects again and begins with a fresh picture);
- a message is written whole and by one thread at a time;
- what one browser sends is bounded: one that sends faster than anybody clicks is cut off;
- every connection is known here, so that all can be ended at once when the server stops.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import simple_websocket
import socketio

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES = 8 * 1024 * 1024
MAX_RECEIVED_BYTES = 256 * 1024
PING_INTERVAL_S = 5
PING_TIMEOUT_S = 10
SWEEP_INTERVAL_S = 0.5
UNUSED_S = 5.0  # how long a new connection may take to become a viewer's
# Messages that a browser may send at once, and a second over a longer time; and those that may wait to be read.
MOST_AT_ONCE = 200
MESSAGES_PER_S = 20.0
MOST_UNREAD = 500


class Json:
    """JSON as engineio and python-socketio want a module for it; they expect ValueError for what cannot be read."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Return the value as JSON text; `msgspec.Raw` is taken over as it is."""
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """Return what the JSON text says. Raises ValueError: when it is no JSON."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error


class RoomManager(socketio.Manager):  # type: ignore[misc]
    """Rooms that several threads may enter and leave at once; python-socketio's own forget members then."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms_lock = threading.RLock()

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        """Add a client to a room."""
        with self._rooms_lock:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        """Take a client out of a room, which ends with its last member."""
        with self._rooms_lock:
            super().basic_leave_room(sid, namespace, room)

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Take a client out of all rooms."""
        with self._rooms_lock:
            super().basic_disconnect(sid, namespace, **kwargs)

    def has_members(self, namespace: str, room: str) -> bool:
        """Tell whether anybody is in the room."""
        return bool(self.rooms.get(namespace, {}).get(room))


class OutboundQueue(queue.Queue[Any]):
    """What waits to be sent to one browser; `on_overflow` is called once when it is more than may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting_bytes = 0
        self.overflowed = False
        self._largest = 0
        self.on_overflow: Callable[[], None] = lambda: None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001 - queue's own
        """Queue a packet, unless this browser has been given up."""
        with self.mutex:
            if self.overflowed and item is not None:
                return
        super().put(item, block, timeout)
        if self.waiting_bytes > max(MAX_WAITING_BYTES, 2 * self._largest) and not self.overflowed:
            self.overflowed = True
            self._forget()
            self.on_overflow()

    def _put(self, item: Any) -> None:
        super()._put(item)
        size = _size(item)
        self.waiting_bytes += size
        self._largest = max(self._largest, size)

    def _get(self) -> Any:
        item = super()._get()
        self.waiting_bytes -= _size(item)
        return item

    def _forget(self) -> None:
        with self.mutex:
            self.queue.clear()
            self.waiting_bytes = 0


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class _WholeWrites:
    """The socket as simple-websocket uses it, but writing whole messages, one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, data: bytes) -> int:
        with self._lock:
            self._connection.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        return self._connection.recv(size)

    def close(self) -> None:
        """Leave closing to the HTTP server, which owns the socket; a second close could hit a reused descriptor."""

    def abort(self) -> None:
        """End the connection now: a thread that waits in `send` or `recv` comes back at once."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class _DaemonThread(threading.Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


class LiveSocket:
    """One WebSocket, in the form in which engineio's threading mode expects it."""

    def __init__(self, handler: Any, connections: Connections) -> None:
        self.engine_socket = handler.__self__
        self.opened = time.monotonic()
        self.was_used = False
        self._handler = handler
        self._connections = connections
        self._socket: _WholeWrites | None = None
        self._websocket: Any = None
        self._allowance = float(MOST_AT_ONCE)
        self._allowed_at = self.opened

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ARG002 - WSGI's signature
        """Serve the connection in this thread until it ends."""
        self._socket = _WholeWrites(environ["gunicorn.socket"])
        self._websocket = simple_websocket.Server(
            {**environ, "gunicorn.socket": self._socket},
            receive_bytes=64 * 1024,
            max_message_size=MAX_RECEIVED_BYTES,
            thread_class=_DaemonThread,
        )
        self.engine_socket.queue.on_overflow = self._overflowed
        self._connections.add(self)
        try:
            self._handler(self)
        finally:
            self._connections.remove(self)
            self.abort()
        raise StopIteration  # tells gunicorn that nothing follows on this connection

    def send(self, message: str | bytes) -> None:
        """Write a message. Raises OSError: when the connection has ended."""
        try:
            self._websocket.send(message)
        except simple_websocket.ConnectionClosed as error:
            raise OSError("the connection is closed") from error

    def wait(self) -> Any:
        """Return the next message, None when the connection has ended."""
        try:
            message = self._websocket.receive()
        except simple_websocket.ConnectionClosed:
            return None
        now = time.monotonic()
        self._allowance = min(self._allowance + (now - self._allowed_at) * MESSAGES_PER_S, MOST_AT_ONCE) - 1
        self._allowed_at = now
        if self._allowance >= 0:
            return message
        logger.warning("a browser sends more than %.0f messages a second and was cut off", MESSAGES_PER_S)
        self.abort()
        return None

    def close(self) -> None:
        """Say goodbye and end the connection."""
        with contextlib.suppress(simple_websocket.ConnectionClosed, OSError):
            self._websocket.close()
        self.abort()

    def abort(self) -> None:
        """End the connection without a word."""
        if self._socket is not None:
            self._socket.abort()

    @property
    def has_too_much_unread(self) -> bool:
        """Whether more waits to be read than a browser has reason to send."""
        return self._websocket is not None and len(self._websocket.input_buffer) > MOST_UNREAD

    def _overflowed(self) -> None:
        logger.warning("a browser does not read what it is sent and was cut off: it will connect again")
        self.abort()


class Connections:
    """All live connections, and their limits."""

    def __init__(self, in_use: Callable[[str], bool | None]) -> None:
        """Take what tells, by engineio's session id, whether a connection still has a right to be open.

        None stands for one that is nobody's yet, or any more.
        """
        self._in_use = in_use
        self._open: set[LiveSocket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look after the connections."""
        self._thread = threading.Thread(target=self._run, name="webui-connections", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all connections and stop looking after them."""
        self._stopping.set()
        self.close_all()
        if self._thread is not None:
            self._thread.join()

    def carry(self, server: Any) -> None:
        """Let this server's connections run through here; engineio has no public way to say so."""
        server.eio._async = {
            **server.eio._async,
            "queue": OutboundQueue,
            "websocket": lambda handler, _server: LiveSocket(handler, self),
        }

    def add(self, live_socket: LiveSocket) -> None:
        """Note a new connection; one that comes while the server stops is ended at once."""
        with self._lock:
            self._open.add(live_socket)
        if self._stopping.is_set():
            live_socket.abort()

    def remove(self, live_socket: LiveSocket) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._open.discard(live_socket)

    def close_all(self) -> None:
        """End every connection now."""
        for live_socket in self._snapshot():
            live_socket.abort()

    def _snapshot(self) -> Iterable[LiveSocket]:
        with self._lock:
            return list(self._open)

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_INTERVAL_S):
            self._sweep(time.monotonic())

    def _sweep(self, now: float) -> None:
        for live_socket in self._snapshot():
            in_use = self._in_use(live_socket.engine_socket.sid)
            if in_use is False or live_socket.has_too_much_unread or live_socket.engine_socket.closed:
                live_socket.abort()
            elif in_use:
                live_socket.was_used = True
            elif live_socket.was_used or now - live_socket.opened > UNUSED_S:
                live_socket.abort()
