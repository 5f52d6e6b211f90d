"""Passes on bytes between two connections as they come: a WebSocket's, whose content is the application's matter."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

CLOSE_TIMEOUT_S = 5.0


class Reader(asyncio.StreamReader):
    """A stream reader that knows whether its connection's end has come."""

    has_ended = False

    def feed_eof(self) -> None:
        """Note the end."""
        self.has_ended = True
        super().feed_eof()


class _Side(asyncio.Protocol):
    """Writes to the other side what it reads; reads no faster than the other side takes it."""

    def __init__(self, other: asyncio.Transport, ended: asyncio.Event) -> None:
        self.lost = asyncio.Event()
        self._other = other
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def eof_received(self) -> bool:
        self._ended.set()
        return True

    def pause_writing(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is closing
            self._other.pause_reading()

    def resume_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._other.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()
        self._ended.set()


class Relay:
    """Takes over two connections that have been read through streams until now."""

    def __init__(self, client: asyncio.StreamWriter, application: asyncio.StreamWriter) -> None:
        self._client = cast(asyncio.Transport, client.transport)
        self._application = cast(asyncio.Transport, application.transport)

    async def run(self, from_client: Reader, from_application: Reader) -> None:
        """Pass on both ways until one side ends, then end the other; what is under way to the client still arrives."""
        if self._client.is_closing() or self._application.is_closing():
            return
        ended = asyncio.Event()
        client, application = _Side(self._application, ended), _Side(self._client, ended)
        self._client.set_protocol(client)
        self._application.set_protocol(application)
        for reader, transport in ((from_client, self._application), (from_application, self._client)):
            if reader.has_ended:
                ended.set()
            reader.feed_eof()
            transport.write(await reader.read())  # what had been read already
        await ended.wait()
        self._application.close()
        self._client.close()
        timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._client.abort)
        await client.lost.wait()
        timer.cancel()
