"""One connection to the page, from its first byte to its last.

A client is read here, in a loop that no client can hold up, and costs a thread only from the moment its request is
there as a whole. Each request gets a connection of its own to the application; a WebSocket keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from http import HTTPStatus

from webui.descriptors import moved_up
from webui.front_http import (
    MAX_HEAD_BYTES,
    AnswerHead,
    RefusedRequestError,
    RequestHead,
    parse_answer,
    parse_request,
    redirect_to_https,
    refusal,
)
from webui.front_relay import CLOSE_TIMEOUT_S, Reader, Relay

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 20.0
IDLE_TIMEOUT_S = 30.0
READER_TIMEOUT_S = 30.0  # in which a client must take CHUNK_BYTES of an answer
LINGER_S = 1.0
CHUNK_BYTES = 64 * 1024
_TLS_HANDSHAKE = b"\x16"  # what a TLS client begins with, RFC 8446 section 5.1
_END_OF_HEAD = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Peer = tuple[str, int]
HandOver = Callable[[socket.socket, Peer], None]


class FrontConnection:
    """Reads requests from a client, has them answered, and ends the connection where the client takes too long.

    To be made in the loop that serves it, with a socket that does not block. `hand_over` gives the application its end
    of a connection on which a whole request comes at once, and raises ConnectionError where it takes none any more.
    `on_idle` is called each time that a request has been answered.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: Peer,
        tls: ssl.SSLContext | None,
        hand_over: HandOver,
        on_idle: Callable[[FrontConnection], None],
    ) -> None:
        self.peer = peer
        self._socket = connection
        self._socket_is_ours = True
        self._tls = tls
        self._hand_over = hand_over
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._is_answering = False
        self._is_new = True
        self._reader: Reader
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_answering(self) -> bool:
        """Whether a request is being answered; otherwise nobody loses anything when this connection ends."""
        return self._is_answering

    async def serve(self) -> None:
        """Serve until either side ends the connection; whatever the network does raises nothing here."""
        try:
            await self._serve()
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            logger.debug("the connection of %s ended: %r", self.peer[0], error)
        finally:
            self.abort()
            if self._socket_is_ours:
                self._socket.close()

    def abort(self) -> None:
        """End the connection now, without a word."""
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    async def _serve(self) -> None:
        tls = self._tls
        if tls is not None and await self._first_byte() != _TLS_HANDSHAKE:
            tls = None
        writer = await self._open(tls)
        try:
            if tls is self._tls:
                while await self._serve_request(writer):
                    self._is_answering = self._is_new = False
                    self._on_idle(self)
            else:
                writer.write(redirect_to_https(parse_request(await self._read_head())))
        except RefusedRequestError as error:
            writer.write(refusal(error))
            await self._let_read_first(writer)
        if not writer.is_closing():
            writer.close()
            with self._within(CLOSE_TIMEOUT_S):
                await writer.wait_closed()

    async def _first_byte(self) -> bytes:
        """Return the first byte that the client sends, and leave it to be read."""
        readable = asyncio.Event()
        number = self._socket.fileno()
        self._loop.add_reader(number, readable.set)
        try:
            with self._within(HANDSHAKE_TIMEOUT_S):
                await readable.wait()
        finally:
            self._loop.remove_reader(number)
        return self._socket.recv(1, socket.MSG_PEEK)

    async def _open(self, tls: ssl.SSLContext | None) -> asyncio.StreamWriter:
        self._reader, protocol = self._streams(MAX_HEAD_BYTES)
        self._socket_is_ours = False  # the transport's, whatever comes
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol,
            self._socket,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls is not None else None,
        )
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, self._loop)
        return self._writer

    def _streams(self, limit: int) -> tuple[Reader, asyncio.StreamReaderProtocol]:
        reader = Reader(limit=limit, loop=self._loop)
        return reader, asyncio.StreamReaderProtocol(reader, loop=self._loop)

    async def _serve_request(self, writer: asyncio.StreamWriter) -> bool:
        """Have one request answered, and tell whether the connection stays. Raises RefusedRequestError."""
        head = await self._read_head()
        request = parse_request(head)
        if request.expects_continue and request.body_bytes:
            writer.write(_CONTINUE)
        with self._within(BODY_TIMEOUT_S):
            body = await self._reader.readexactly(request.body_bytes)
        self._is_answering = True
        ours, theirs = (moved_up(end) for end in socket.socketpair())
        try:
            self._hand_over(theirs, self.peer)
        except ConnectionError:
            ours.close()
            theirs.close()
            raise
        app_reader, protocol = self._streams(CHUNK_BYTES)
        transport, _ = await self._loop.create_unix_connection(lambda: protocol, sock=ours)
        app_writer = asyncio.StreamWriter(transport, protocol, app_reader, self._loop)
        try:
            app_writer.write(request.raw + body)
            if not request.is_upgrade:
                app_writer.write_eof()
            return await self._pass_on_answer(request, writer, app_reader, app_writer)
        finally:
            app_writer.close()

    async def _read_head(self) -> bytes:
        with self._within(HEAD_TIMEOUT_S if self._is_new else IDLE_TIMEOUT_S):
            first = await self._reader.readexactly(1)
        try:
            with self._within(HEAD_TIMEOUT_S):
                return first + await self._reader.readuntil(_END_OF_HEAD)
        except asyncio.LimitOverrunError as error:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise RefusedRequestError(status, f"at most {MAX_HEAD_BYTES} bytes of headers are taken") from error

    async def _pass_on_answer(
        self,
        request: RequestHead,
        writer: asyncio.StreamWriter,
        app_reader: Reader,
        app_writer: asyncio.StreamWriter,
    ) -> bool:
        answer = parse_answer(await app_reader.readuntil(_END_OF_HEAD), request)
        writer.write(answer.raw)
        if answer.is_upgrade:
            await Relay(writer, app_writer).run(self._reader, app_reader)
            return False
        return await self._pass_on_body(answer, writer, app_reader)

    async def _pass_on_body(
        self, answer: AnswerHead, writer: asyncio.StreamWriter, app_reader: asyncio.StreamReader
    ) -> bool:
        passed, tail = 0, b""
        while data := await app_reader.read(CHUNK_BYTES):
            writer.write(data)
            passed += len(data)
            tail = (tail + data)[-len(_LAST_CHUNK) :]
            with self._within(READER_TIMEOUT_S):
                await writer.drain()
        is_whole = tail == _LAST_CHUNK if answer.is_chunked else answer.body_bytes in (passed, None)
        if not is_whole:
            raise ConnectionAbortedError("the application did not finish its answer")
        return answer.keeps_alive

    async def _let_read_first(self, writer: asyncio.StreamWriter) -> None:
        """Read on for a moment: closing a socket with something unread in it would take the answer back."""
        with self._within(LINGER_S):
            if writer.can_write_eof():  # TLS cannot
                writer.write_eof()
            await writer.drain()
            while await self._reader.read(CHUNK_BYTES):
                pass

    @contextlib.contextmanager
    def _within(self, limit_s: float) -> Iterator[None]:
        """End the connection where what is done inside takes longer."""
        timer = self._loop.call_later(limit_s, self.abort)
        try:
            yield
        finally:
            timer.cancel()
