"""The few MQTT 3.1.1 packets that a pretended agent sends and receives; sections are the standard's (OASIS, 2014)."""

from __future__ import annotations

from collections.abc import Iterator

CONNACK = 2
PUBLISH = 3
PUBACK = 4
SUBACK = 9
PINGRESP = 13

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
MAX_PACKET_BYTES = 4 * 1024 * 1024


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def _packet(first_byte: int, body: bytes) -> bytes:
    return bytes([first_byte]) + remaining_length(len(body)) + body


def remaining_length(length: int) -> bytes:
    """Return a length in the 1 to 4 bytes of section 2.2.3."""
    out = bytearray()
    while True:
        length, digit = divmod(length, 128)
        out.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(out)


def connect(client_id: str, log_in: tuple[str, str], will: tuple[str, str], keepalive_s: int) -> bytes:
    """Return CONNECT (3.1) with user and password, a retained will (topic and text) of QoS 1, and a clean session."""
    flags = 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02  # user name, password, will retain, will QoS 1, will, clean session
    body = _text("MQTT") + bytes([4, flags]) + keepalive_s.to_bytes(2, "big")
    body += _text(client_id) + b"".join(map(_text, (*will, *log_in)))
    return _packet(0x10, body)


def subscribe(packet_id: int, filters: list[str], qos: int = 1) -> bytes:
    """Return SUBSCRIBE (3.8)."""
    return _packet(0x82, packet_id.to_bytes(2, "big") + b"".join(_text(each) + bytes([qos]) for each in filters))


def publish(topic: str, payload: bytes, *, retain: bool, packet_id: int | None = None) -> bytes:
    """Return PUBLISH (3.3), of QoS 1 where it has a packet id, else of QoS 0."""
    first_byte = 0x30 | (0x02 if packet_id is not None else 0) | (0x01 if retain else 0)
    identifier = packet_id.to_bytes(2, "big") if packet_id is not None else b""
    return _packet(first_byte, _text(topic) + identifier + payload)


def puback(packet_id: int) -> bytes:
    """Return PUBACK (3.4)."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


class Splitter:
    """Splits what arrives into packets, however it was cut on the way."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Give the type, the flags and the body of every packet that is whole by now.

        Raises ValueError: for a length that no broker should send.
        """
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while True:
            header = _read_header(buffer, at)
            if header is None:
                break
            start, end = header
            if len(buffer) < end:
                break
            yield buffer[at] >> 4, buffer[at] & 0x0F, buffer[start:end]
            at = end
        self._buffer = buffer[at:]


def _read_header(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `at` starts and ends, None while its length has not arrived."""
    length = 0
    for place in range(4):
        position = at + 1 + place
        if position >= len(buffer):
            return None
        length |= (buffer[position] & 0x7F) << (7 * place)
        if not buffer[position] & 0x80:
            if length > MAX_PACKET_BYTES:
                break
            return position + 1, position + 1 + length
    raise ValueError(f"a packet whose length is more than {MAX_PACKET_BYTES} bytes")
