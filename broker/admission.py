"""The way in: from a TCP connection that was just taken to a client whose name and password are right.

Nobody is trusted here, so everything is bounded: how many are on this way (`broker.gate`), for how long, how much they
may send, and how often they may fail (`broker.logins`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from broker.complaints import Complaints
from broker.connect_packet import (
    NOT_AUTHORIZED,
    UNAVAILABLE,
    Connect,
    ConnectRefusedError,
    decode_connect,
    encode_connack,
)
from broker.counters import BrokerCounters
from broker.gate import Gate, Guest
from broker.logins import LoginsLimitedError
from broker.packets import CONNECT, MalformedPacketError, Message, Packet, PacketTooLargeError, read_packet
from broker.session import Session

# From the connection to the whole CONNECT, a TLS handshake included.
INTRODUCTION_TIMEOUT_S = 10.0
# An agent's CONNECT has about 200 bytes; this leaves room for a will with a page of JSON. Somebody unknown can hold no
# more of the broker's memory than this and what the system's buffers take.
MAX_CONNECT_BYTES = 16 * 1024
LOGIN_TIMEOUT_S = 30.0
CLOSING_TIMEOUT_S = 2.0


class Admitted(NamedTuple):
    """A client that has logged in, what to publish when it dies, and both ends of its stream."""

    session: Session
    will: Message | None
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Admission:
    """Takes a client's introduction, and asks `authenticate` whether it is right."""

    def __init__(
        self,
        gate: Gate,
        authenticate: Callable[[Session], Awaitable[bool]],
        complaints: Complaints,
        counters: BrokerCounters,
    ) -> None:
        self._gate = gate
        self._authenticate = authenticate
        self._complaints = complaints
        self._counters = counters

    async def admit(self, guest: Guest, connection: socket.socket, tls: ssl.SSLContext | None) -> Admitted | None:
        """Let a client in, or answer why not; then the connection is closed when this returns."""
        timer = asyncio.get_running_loop().call_later(INTRODUCTION_TIMEOUT_S, self._time_out, guest)
        writer, who, code = None, guest.address, None
        try:
            reader, writer = await _open_streams(connection, tls)
            connect = decode_connect(await _read_connect(reader))
            timer.cancel()
            if not guest.has_left:  # else turned away while its last bytes were on their way
                self._gate.introduced(guest)
                session = _session_of(connect, guest.address)
                who = name_and_address(session)
                await self._log_in(session)
                return Admitted(session, connect.will, reader, writer)
        except ConnectRefusedError as refusal:
            code = refusal.code
            self._complaints(f"refusal {code}", who, f"{who} {refusal}")
        except (MalformedPacketError, PacketTooLargeError) as error:
            self._complaints("connect", who, f"{who} did not connect: {error}")
        except ssl.SSLError as error:
            self._complaints("tls", who, f"{who} did not connect: {error.reason or error}", logging.INFO)
        except (asyncio.IncompleteReadError, OSError):
            pass
        except asyncio.CancelledError:
            if writer is not None:
                writer.transport.abort()
            raise
        finally:
            timer.cancel()
        if writer is not None:
            await close_politely(writer, code)
        return None

    async def _log_in(self, session: Session) -> None:
        """Ask who the client is. Raises ConnectRefusedError: where it is not let in."""
        try:
            is_known = await asyncio.wait_for(self._authenticate(session), LOGIN_TIMEOUT_S)
        except asyncio.TimeoutError as error:
            raise ConnectRefusedError(UNAVAILABLE, f"is refused: no answer within {LOGIN_TIMEOUT_S:g} s") from error
        except LoginsLimitedError as error:
            raise ConnectRefusedError(UNAVAILABLE, str(error)) from error
        except Exception as error:
            problem = f"the accounts cannot be asked, log-ins are refused for now: {error!r}"
            self._complaints("accounts", "", problem, logging.ERROR)
            raise ConnectRefusedError(UNAVAILABLE, "is refused: the accounts cannot be asked") from error
        if not is_known:
            raise ConnectRefusedError(NOT_AUTHORIZED, "is refused: unknown name, or wrong password or token")

    def _time_out(self, guest: Guest) -> None:
        self._counters.timed_out_guests += 1
        guest.turn_away()


async def close_politely(writer: asyncio.StreamWriter, code: int | None = None) -> None:
    """Answer with a CONNACK, where a code is given, and close; wait for the other side no longer than two seconds."""
    if code is not None and not writer.transport.is_closing():
        writer.write(encode_connack(code))
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CLOSING_TIMEOUT_S)
    writer.transport.abort()


def name_and_address(session: Session) -> str:
    """Return how a client is called in the log."""
    return f"{str(session.username)[:100]!r} at {session.remote_address}"


async def _open_streams(
    connection: socket.socket, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_CONNECT_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    options: dict[str, Any] = {}
    if tls is not None:
        options = {"ssl": tls, "ssl_handshake_timeout": INTRODUCTION_TIMEOUT_S}
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, **options)
    except BaseException:
        connection.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _read_connect(reader: asyncio.StreamReader) -> Packet:
    packet = await read_packet(reader, MAX_CONNECT_BYTES)
    if packet.kind != CONNECT:
        raise MalformedPacketError("a first packet that is no CONNECT")
    return packet


def _session_of(connect: Connect, address: str) -> Session:
    return Session(connect.client_id, connect.username, connect.password, connect.keep_alive_s, address)
