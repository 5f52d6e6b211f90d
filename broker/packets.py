"""MQTT 3.1.1 packets on the wire: read whole and bounded, taken apart and built.

amqtt reads a packet of any size, a few bytes at a time with a task switch for each, lets through what the standard
forbids, and builds a PUBLISH anew for every subscriber. Here a packet too large is refused by its header, before its
payload is read, and what all subscribers get is built once. CONNECT has a file of its own, `broker.connect_packet`.
"""

from __future__ import annotations

import asyncio
import struct
from typing import NamedTuple

from gpumon.errors import GpumonError

CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, DISCONNECT = 8, 9, 10, 11, 12, 14

PINGRESP_BYTES = b"\xd0\x00"


class MalformedPacketError(GpumonError):
    """A client broke the protocol; MQTT 3.1.1 section 4.8 asks to close its connection."""

    see = "troubleshooting.md#a-client-or-message-is-refused"


class PacketTooLargeError(GpumonError):
    """A packet is larger than the broker takes."""

    see = "troubleshooting.md#a-client-or-message-is-refused"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a packet of {size} bytes; at most {limit} are taken")
        self.limit = limit


class Packet(NamedTuple):
    """A packet as it came: its type and flags (MQTT 3.1.1 section 2.2), and everything behind the fixed header."""

    kind: int
    flags: int
    body: bytes


class Message:
    """A message on its way from one publisher to its readers."""

    __slots__ = ("_for_all", "payload", "qos", "retain", "topic", "waiting")

    def __init__(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.waiting = 0  # for how many readers, in their outboxes
        self._for_all: bytes | None = None

    def encode(self, packet_id: int | None, *, retain: bool) -> bytes:
        """Build the PUBLISH packet: of QoS 1 with a packet id, else of QoS 0; the latter is kept for all readers."""
        if packet_id is not None:
            return self._build(0x32 | retain, struct.pack("!H", packet_id))
        if retain:
            return self._build(0x31, b"")
        if self._for_all is None:
            self._for_all = self._build(0x30, b"")
        return self._for_all

    def forget_packet(self) -> None:
        """Let go of the packet for all readers, so that a retained message takes no more than its payload."""
        self._for_all = None

    def _build(self, first: int, packet_id: bytes) -> bytes:
        topic = self.topic.encode()
        length = 2 + len(topic) + len(packet_id) + len(self.payload)
        header = struct.pack("!B", first) + _encode_length(length) + struct.pack("!H", len(topic))
        return b"".join((header, topic, packet_id, self.payload))


async def read_packet(reader: asyncio.StreamReader, max_bytes: int, max_publish_bytes: int = 0) -> Packet:
    """Read the next packet: a PUBLISH of `max_publish_bytes` at most, any other of `max_bytes`.

    Raises PacketTooLargeError: with the payload unread. MalformedPacketError: for a length of more than four bytes.
    asyncio.IncompleteReadError, OSError: when the connection ends.
    """
    first, length = await reader.readexactly(2)
    if length & 0x80:
        length &= 0x7F
        for shift in (7, 14, 21):
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 0x7F) << shift
            if not digit & 0x80:
                break
        else:
            raise MalformedPacketError("a packet whose length has more than four bytes")
        limit = max_publish_bytes if first >> 4 == PUBLISH else max_bytes
        if length > limit:
            raise PacketTooLargeError(length, limit)
    body = await reader.readexactly(length) if length else b""
    return Packet(first >> 4, first & 0x0F, body)


def decode_publish(packet: Packet) -> tuple[Message, int | None]:
    """Return the message of a PUBLISH, and its packet id (None for QoS 0).

    Raises MalformedPacketError: for what MQTT 3.1.1 section 3.3 forbids.
    """
    body = packet.body
    qos = packet.flags >> 1 & 0x03
    if len(body) < 2 or qos == 3:
        raise MalformedPacketError("a PUBLISH that is none")
    end = 2 + (body[0] << 8 | body[1])
    try:
        topic = body[2:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedPacketError("a PUBLISH whose topic is not UTF-8") from error
    if not is_topic_name(topic) or end > len(body):
        raise MalformedPacketError(f"a PUBLISH with the topic {topic[:200]!r}")
    packet_id = None
    if qos:
        packet_id = decode_packet_id(body[end : end + 2])
        end += 2
    return Message(topic, body[end:], qos, retain=bool(packet.flags & 0x01)), packet_id


def is_topic_name(topic: str) -> bool:
    """Tell whether something can be published to this topic (MQTT 3.1.1 section 4.7)."""
    return bool(topic) and not any(wild in topic for wild in "+#\0")


def take_text(body: bytes, start: int) -> tuple[str, int]:
    """Return the string that begins here (MQTT 3.1.1 section 1.5.3), and where it ends.

    Raises MalformedPacketError: where there is none, and for one that is not UTF-8 or holds a NUL.
    """
    data, end = take_bytes(body, start)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacketError("a text that is not UTF-8") from error
    if "\0" in text:
        raise MalformedPacketError("a text with a NUL")
    return text, end


def take_bytes(body: bytes, start: int) -> tuple[bytes, int]:
    """Return the bytes that begin here behind their length, and where they end.

    Raises MalformedPacketError: where there are fewer.
    """
    end = start + 2 + int.from_bytes(body[start : start + 2], "big")
    if start + 2 > len(body) or end > len(body):
        raise MalformedPacketError("a packet that ends too early")
    return body[start + 2 : end], end


def decode_packet_id(body: bytes) -> int:
    """Return the packet id at the start of a body.

    Raises MalformedPacketError: where there is none, or it is 0 (MQTT 3.1.1 section 2.3.1).
    """
    packet_id = int.from_bytes(body[:2], "big") if len(body) >= 2 else 0
    if not packet_id:
        raise MalformedPacketError("a packet without a packet id")
    return packet_id


def decode_subscribe(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """Return the packet id of a SUBSCRIBE, and its filters, each with the QoS asked for.

    Raises MalformedPacketError: for what MQTT 3.1.1 section 3.8 forbids.
    """
    body, filters, at = packet.body, [], 2
    while at < len(body):
        topic_filter, at = take_text(body, at)
        qos = body[at] if at < len(body) else 3
        if qos > 2:
            raise MalformedPacketError("a SUBSCRIBE without a QoS from 0 to 2")
        filters.append((topic_filter, qos))
        at += 1
    if packet.flags != 0x02 or not filters:
        raise MalformedPacketError("a SUBSCRIBE that is none")
    return decode_packet_id(body), filters


def decode_unsubscribe(packet: Packet) -> tuple[int, list[str]]:
    """Return the packet id of an UNSUBSCRIBE, and its filters.

    Raises MalformedPacketError: for what MQTT 3.1.1 section 3.10 forbids.
    """
    body, filters, at = packet.body, [], 2
    while at < len(body):
        topic_filter, at = take_text(body, at)
        filters.append(topic_filter)
    if packet.flags != 0x02 or not filters:
        raise MalformedPacketError("an UNSUBSCRIBE that is none")
    return decode_packet_id(body), filters


def encode_answer(kind: int, packet_id: int, payload: bytes = b"") -> bytes:
    """Build PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK: a packet id, and return codes in a SUBACK."""
    flags = 0x02 if kind == PUBREL else 0
    return (
        struct.pack("!B", kind << 4 | flags) + _encode_length(2 + len(payload)) + struct.pack("!H", packet_id) + payload
    )


def _encode_length(length: int) -> bytes:
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)
