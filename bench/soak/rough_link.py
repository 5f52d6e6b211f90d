"""A stretch of network between agents and broker that can be cut and slowed."""

from __future__ import annotations

import asyncio
import contextlib
import threading

CHUNK_BYTES = 16 * 1024
_HOST = "127.0.0.1"


class RoughLink:
    """Passes on what comes to one port of this machine to another, in a thread of its own, until `stop`."""

    def __init__(self, port: int, to_port: int) -> None:
        self.port = port
        self.to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rough-link", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Future[tuple[None, None]]] = set()
        self._is_cut = False
        self._delay_s = 0.0

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._hang_up)

    def slow(self, delay_s: float) -> None:
        """Hold up each piece of what passes by so many seconds, in both directions."""
        self._delay_s = delay_s

    def mend(self) -> None:
        """Let everything pass again."""
        self._is_cut = False
        self._delay_s = 0.0

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, _HOST, self.port, backlog=1024)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._hang_up()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _hang_up(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self.to_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        passing = asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        self._passing.add(passing)
        await passing
        self._passing.discard(passing)
        self._open -= {writer, far_writer}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
