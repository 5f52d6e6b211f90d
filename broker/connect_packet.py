"""CONNECT, the one packet that the broker takes from somebody it does not know yet, and its answer CONNACK."""

from __future__ import annotations

import secrets
import struct
from typing import NamedTuple

from broker.packets import MalformedPacketError, Message, Packet, take_bytes, take_text
from gpumon.errors import GpumonError

MQTT_3_1_1 = 4

# The return codes of MQTT 3.1.1 section 3.2.2.3.
ACCEPTED, WRONG_VERSION, WRONG_CLIENT_ID, UNAVAILABLE, NOT_AUTHORIZED = 0, 1, 2, 3, 5

_USER_NAME, _PASSWORD, _WILL_RETAIN, _WILL_QOS, _WILL, _CLEAN_SESSION, _RESERVED = 128, 64, 32, 24, 4, 2, 1


class ConnectRefusedError(GpumonError):
    """A client that is not let in; `code` is its answer."""

    see = "troubleshooting.md#a-client-or-message-is-refused"

    def __init__(self, code: int, problem: str) -> None:
        super().__init__(problem)
        self.code = code


class Connect(NamedTuple):
    """What a client says of itself: not believed before its password is checked."""

    client_id: str
    keep_alive_s: int
    username: str | None
    password: str | None
    will: Message | None


def decode_connect(packet: Packet) -> Connect:
    """Take a CONNECT apart. A client without an id is given one that nobody can guess.

    Raises MalformedPacketError: for what MQTT 3.1.1 section 3.1 forbids. ConnectRefusedError: where it is to be
    answered, for another version of MQTT and a lasting session without a client id.
    """
    body = packet.body
    if packet.flags:
        raise MalformedPacketError("a CONNECT with flags in its header")
    level = protocol_level(packet)
    if level is None:
        raise MalformedPacketError("a CONNECT of another protocol")
    if level != MQTT_3_1_1:
        raise ConnectRefusedError(WRONG_VERSION, f"speaks MQTT protocol level {level}; use MQTT 3.1.1 (level 4)")
    flags, keep_alive_s = _flags_and_keep_alive(body)
    client_id, at = take_text(body, 10)
    will = None
    if flags & _WILL:
        topic, at = take_text(body, at)
        payload, at = take_bytes(body, at)
        will = Message(topic, payload, flags >> 3 & 0x03, retain=bool(flags & _WILL_RETAIN))
    username = password = None
    if flags & _USER_NAME:
        username, at = take_text(body, at)
    if flags & _PASSWORD:
        data, at = take_bytes(body, at)
        password = data.decode(errors="replace")  # one that is not UTF-8 is nobody's
    if at != len(body):
        raise MalformedPacketError("a CONNECT with something behind its end")
    if not client_id:
        if not flags & _CLEAN_SESSION:
            raise ConnectRefusedError(WRONG_CLIENT_ID, "asked for a lasting session without a client id")
        client_id = f"given/{secrets.token_hex(8)}"
    return Connect(client_id, keep_alive_s, username, password, will)


def _flags_and_keep_alive(body: bytes) -> tuple[int, int]:
    if len(body) < 10:
        raise MalformedPacketError("a CONNECT that is none")
    flags, keep_alive_s = struct.unpack_from("!BH", body, 7)
    if (
        flags & _RESERVED
        or flags & _WILL_QOS == _WILL_QOS
        or (not flags & _WILL and flags & (_WILL_QOS | _WILL_RETAIN))
    ):
        raise MalformedPacketError("a CONNECT with flags that mean nothing")
    if flags & _PASSWORD and not flags & _USER_NAME:
        raise MalformedPacketError("a CONNECT with a password and no user name")
    return flags, keep_alive_s


def protocol_level(packet: Packet) -> int | None:
    """Return the protocol level of a CONNECT: 3 for MQTT 3.1, 4 for 3.1.1, 5 for 5.0; None where it is no MQTT."""
    for name in (b"\0\4MQTT", b"\0\6MQIsdp"):
        if packet.body.startswith(name) and len(packet.body) > len(name):
            return packet.body[len(name)]
    return None


def encode_connack(code: int) -> bytes:
    """Build a CONNACK; no session is ever present (MQTT 3.1.1 section 3.2.2)."""
    return bytes((0x20, 2, 0, code))
