"""The page's front door: listens, speaks TLS, and lets no client cost more than its share.

It runs in a thread and a loop of its own, inside the process that serves the page. Slow and silent clients wait here,
where they cost a few kilobytes each, and not in the application's threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

import uvloop

from gpumon.log import OncePer
from webui.descriptors import moved_up, room_for_sockets
from webui.front_connection import FrontConnection, HandOver, Peer

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
DRAIN_S = 1.0
NEW_AT_ONCE = 200  # connections that one address may open at once, and after that a second
NEW_PER_S = 40.0
MOST_ADDRESSES = 10_000
SOCKETS_PER_CONNECTION = 3  # the client's, and while a request is answered both ends of the way to the application
# A peer that has vanished without a word is noticed after about two minutes.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass(slots=True)
class _Address:
    """What one address has open, and how many more it may open now."""

    connections: int = 0
    allowance: float = NEW_AT_ONCE
    counted: float = field(default_factory=time.monotonic)

    def may_open(self, most: int) -> bool:
        now = time.monotonic()
        self.allowance = min(NEW_AT_ONCE, self.allowance + NEW_PER_S * (now - self.counted))
        self.counted = now
        if self.connections >= most or self.allowance < 1:
            return False
        self.allowance -= 1
        return True


class Front:
    """Accepts connections and hands each whole request to the application.

    Constructing does nothing. `start` begins to accept; `drain` ends accepting and waiting clients; `stop` ends all.
    `most_per_address` None is for a front that sees one address for everybody, as behind a proxy.
    """

    def __init__(self, tls: ssl.SSLContext | None, most: int, most_per_address: int | None) -> None:
        self._tls = tls
        self._most = most
        self._most_per_address = most_per_address
        self._addresses: dict[str, _Address] = {}
        self._open: dict[FrontConnection, asyncio.Task[None]] = {}  # those that have waited longest come first
        self._due = OncePer(60.0)
        self._accepting: asyncio.Task[None] | None = None
        self._hand_over: HandOver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, listener: socket.socket, hand_over: HandOver) -> None:
        """Begin to accept; `hand_over` is called in the front's thread."""
        self._hand_over = hand_over
        self._most = min(self._most, room_for_sockets() // SOCKETS_PER_CONNECTION)
        listener.setblocking(False)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="page-front", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(listener), self._loop).result(START_TIMEOUT_S)

    def drain(self) -> None:
        """Take nothing new: the listener is left alone, and clients whose request is not being answered are sent away.

        When this returns, `hand_over` is not called any more.
        """
        if self._loop is not None and self._hand_over is not None:
            asyncio.run_coroutine_threadsafe(self._drain(), self._loop).result(START_TIMEOUT_S)

    def stop(self) -> None:
        """End everything; answers that are written already get a moment to arrive."""
        if self._loop is None or self._thread is None:
            return
        self.drain()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    async def _start(self, listener: socket.socket) -> None:
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # the client has gone already, or no descriptors are left
                if self._due("accept"):
                    logger.warning("a connection to the page could not be taken: %s", error.strerror)
                await asyncio.sleep(0.05)
                continue
            self._take(connection, _peer(address))

    def _take(self, connection: socket.socket, peer: Peer) -> None:
        key = None
        if self._most_per_address is not None and not _is_here(connection, peer):
            key = _counted_as(peer[0])
            if not self._may_open(key, self._most_per_address):
                connection.close()
                return
        if len(self._open) >= self._most and not self._make_room():
            connection.close()
            return
        connection = moved_up(connection)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        served = FrontConnection(connection, peer, self._tls, self._give, self._now_idle)
        task = asyncio.get_running_loop().create_task(served.serve())
        self._open[served] = task
        if key is not None:
            self._addresses[key].connections += 1
        task.add_done_callback(lambda ended: self._ended(served, ended, key))

    def _may_open(self, key: str, most: int) -> bool:
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses = {each: kept for each, kept in self._addresses.items() if kept.connections}
        if self._addresses.setdefault(key, _Address()).may_open(most):
            return True
        if self._due(key):
            logger.warning(
                "%s has %d connections to the page open, or opens too many a second: further ones are ended",
                key,
                self._addresses[key].connections,
            )
        return False

    def _make_room(self) -> bool:
        """End the connection that has waited longest for its client; False where all are being answered."""
        if self._due("full"):
            logger.warning("all %d connections to the page are taken: the idle ones give way to new ones", self._most)
        for served in self._open:
            if not served.is_answering:
                del self._open[served]
                served.abort()
                return True
        return False

    def _give(self, connection: socket.socket, peer: Peer) -> None:
        if self._hand_over is None:
            raise ConnectionAbortedError("the page is being stopped")
        self._hand_over(connection, peer)

    def _now_idle(self, served: FrontConnection) -> None:
        task = self._open.pop(served, None)
        if task is not None:
            self._open[served] = task

    def _ended(self, served: FrontConnection, task: asyncio.Task[None], key: str | None) -> None:
        self._open.pop(served, None)
        if key is not None:
            self._addresses[key].connections -= 1
        if not task.cancelled() and task.exception() is not None:
            logger.error("a connection to the page failed", exc_info=task.exception())

    async def _drain(self) -> None:
        self._hand_over = None
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        for served in list(self._open):
            if not served.is_answering:
                served.abort()

    async def _stop(self) -> None:
        answering = set(self._open.values())
        if answering:
            await asyncio.wait(answering, timeout=DRAIN_S)
        for served in list(self._open):
            served.abort()
        for task in self._open.values():
            task.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)


def _peer(address: tuple[str, int] | tuple[str, int, int, int]) -> Peer:
    """Return a client's address and port; one of IPv4 that came to a listener of IPv6 as itself."""
    host = address[0]
    if host.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        host = host if mapped is None else str(mapped)
    return host, address[1]


def _is_here(connection: socket.socket, peer: Peer) -> bool:
    """Tell whether the client is on this machine."""
    with contextlib.suppress(OSError, ValueError):
        return peer[0] == _peer(connection.getsockname())[0] or ipaddress.ip_address(peer[0]).is_loopback
    return False


def _counted_as(host: str) -> str:
    """Return what counts as one address: with IPv6, one machine has a whole network of 64 bits to call from."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address) or address.is_link_local:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))
