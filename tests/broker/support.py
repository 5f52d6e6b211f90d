"""What the broker's tests share: accounts made up on the spot, a running broker, and clients of several kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from queue import Queue

import msgspec
import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from broker.counters import BrokerCounters
from broker.limits import Limits
from broker.service import BrokerService
from broker.trust import SlowCheck
from gpumon.roles import STRANGER_NAME, Principal, Role
from gpumon.settings import BrokerSettings, MqttSettings, Settings
from gpumon.topics import Topics
from tests.support import eventually, free_port

PASSWORD = "correct"
TOPICS = Topics()
ACCOUNTS = {
    principal.name: principal
    for principal in (
        Principal("w1", Role.WORKER),
        Principal("w2", Role.WORKER),
        Principal("eye", Role.VIEWER),
        Principal("research", Role.OPERATOR),
        Principal("rack3", Role.OPERATOR, commands_on=(("rack", "3"),)),
        Principal("home", Role.INTEGRATION),
        Principal("flows", Role.INTEGRATION, commands_on=()),
        Principal("root", Role.ADMIN),
        Principal("master", Role.MASTER),
        Principal(STRANGER_NAME, Role.STRANGER, credential="key-1"),
    )
}


class FakeDirectory:
    """Knows everybody of `ACCOUNTS`, and any worker `w<number>`; everybody's password is the same.

    As with real accounts, a person's password is hashed and a worker's is not. Who is in `removed` is not let in.
    """

    def __init__(self) -> None:
        self.removed: set[str] = set()

    def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
        known = ACCOUNTS.get(username)
        if known is None and username[:1] == "w" and username[1:].isdigit():
            known = Principal(username, Role.WORKER)
        principal = known if password == PASSWORD and username not in self.removed else None
        if known is not None and known.role in (Role.WORKER, Role.MASTER, Role.STRANGER):
            return principal
        return lambda: principal

    def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
        return {principal for principal in principals if principal.name in self.removed}


@dataclass
class RunningBroker:
    """A broker that runs in a thread of the test's process."""

    port: int
    service: BrokerService
    directory: FakeDirectory
    tls_port: int = 0

    @property
    def counters(self) -> BrokerCounters:
        return self.service.counters


def settings_for(port: int, **broker: float) -> Settings:
    return Settings(mqtt=MqttSettings(port=port), broker=msgspec.convert(broker, BrokerSettings))


@contextlib.contextmanager
def running_broker(
    directory: FakeDirectory | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    **broker: float,
) -> Iterator[RunningBroker]:
    """Run a broker with these settings of the section `broker`, or with these limits."""
    port, tls_port = free_port(), free_port()
    settings = msgspec.structs.replace(
        settings_for(port, **broker), host="127.0.0.1", mqtt=MqttSettings(port=port, tls_port=tls_port)
    )
    directory = directory or FakeDirectory()
    service = BrokerService(settings, directory, TOPICS, tls=tls, limits=limits)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(10)
        yield RunningBroker(port, service, directory, tls_port)
    finally:
        asyncio.run_coroutine_threadsafe(service.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass
class Received:
    """A message as a client got it."""

    topic: str
    payload: bytes
    qos: int
    retained: bool


@dataclass
class Client:
    """A paho client that keeps what it gets."""

    paho: paho.Client
    messages: Queue[Received] = field(default_factory=Queue)
    granted: list[int] = field(default_factory=list)
    refused_with: str | None = None

    def subscribe(self, topic_filter: str, qos: int = 0) -> int:
        """Subscribe, and return the broker's answer."""
        self.granted.clear()
        self.paho.subscribe(topic_filter, qos)
        eventually(lambda: self.granted)
        return self.granted[0]

    def publish(self, topic: str, payload: bytes | str = b"x", qos: int = 1, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        self.paho.publish(topic, payload, qos, retain).wait_for_publish(10)

    def get(self, timeout_s: float = 10.0) -> Received:
        """Return the next message."""
        return self.messages.get(timeout=timeout_s)

    def seen(self) -> list[Received]:
        """Return the messages that have come and were not taken yet."""
        return [self.messages.get_nowait() for _ in range(self.messages.qsize())]


@contextlib.contextmanager
def client(
    port: int,
    user: str,
    *,
    client_id: str = "",
    will: tuple[str, bytes, int, bool] | None = None,
    keepalive_s: int = 60,
) -> Iterator[Client]:
    """Connect a paho client as this user, and disconnect it properly."""
    mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311)
    it = Client(mqtt)
    connected = threading.Event()
    mqtt.username_pw_set(user, PASSWORD)
    if will is not None:
        mqtt.will_set(*will)
    mqtt.on_connect = lambda *_: connected.set()
    mqtt.on_message = lambda _c, _u, m: it.messages.put(Received(m.topic, bytes(m.payload), m.qos, bool(m.retain)))
    mqtt.on_subscribe = lambda _c, _u, _m, codes, _p: it.granted.extend(int(code.value) for code in codes)
    mqtt.connect("127.0.0.1", port, keepalive_s)
    mqtt.loop_start()
    try:
        assert connected.wait(10)
        yield it
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()


def encoded(text: str | bytes) -> bytes:
    """Encode a string as MQTT 3.1.1 section 1.5.3 does."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """Put the fixed header before a body."""
    length, digits = len(body), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((first, *digits, length)) + body


def connect_packet(
    user: str,
    *,
    password: str = PASSWORD,
    client_id: str = "raw",
    keepalive_s: int = 60,
    level: int = 4,
    will: tuple[str, bytes, int, bool] | None = None,
) -> bytes:
    """Build a CONNECT by hand, for clients that do what paho would not; a will is topic, payload, QoS and retain."""
    flags, said = 0xC2, encoded(client_id)
    if will is not None:
        topic, payload, qos, retain = will
        flags |= 0x04 | qos << 3 | retain << 5
        said += encoded(topic) + encoded(payload)
    body = encoded("MQTT") + bytes((level, flags)) + struct.pack("!H", keepalive_s) + (b"\0" if level == 5 else b"")
    return packet(0x10, body + said + encoded(user) + encoded(password))


def publish_packet(topic: str, payload: bytes, qos: int = 0, packet_id: int = 1, *, retain: bool = False) -> bytes:
    """Build a PUBLISH by hand."""
    return packet(0x30 | qos << 1 | retain, encoded(topic) + (struct.pack("!H", packet_id) if qos else b"") + payload)


def subscribe_packet(topic_filter: str, qos: int = 0, packet_id: int = 1) -> bytes:
    """Build a SUBSCRIBE by hand."""
    return packet(0x82, struct.pack("!H", packet_id) + encoded(topic_filter) + bytes((qos,)))


class RawClient:
    """A socket on which a test writes packets by hand, and reads them whole."""

    def __init__(self, port: int, *packets: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.send(*packets)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *packets: bytes) -> None:
        self.socket.sendall(b"".join(packets))

    def send_anyway(self, *packets: bytes) -> None:
        """Send, also where the broker has closed the connection meanwhile."""
        with contextlib.suppress(ConnectionError):
            self.send(*packets)

    def read_to_the_end(self) -> bytes:
        """Return everything until the broker closes the connection; fails where it does not in time."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65536):
                data += part
        return data

    def receive(self) -> tuple[int, bytes]:
        """Return the first byte and the body of the next packet.

        Raises ConnectionError: when the broker has closed the connection.
        """
        first, length, shift = self._exactly(1)[0], 0, 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, self._exactly(length)

    def collect(self) -> list[Received]:
        """Return every message that the broker had for this client before it answers a ping sent now."""
        self.send(b"\xc0\0")
        messages: list[Received] = []
        while True:
            first, body = self.receive()
            if first == 0xD0:
                return messages
            if first >> 4 == 3:
                end = 2 + int.from_bytes(body[:2], "big")
                qos = first >> 1 & 3
                payload = body[end + (2 if qos else 0) :]
                messages.append(Received(body[2:end].decode(), payload, qos, retained=bool(first & 1)))

    def is_closed(self) -> bool:
        """Read until the broker closes the connection; fails where it does not within the socket's timeout."""
        self.read_to_the_end()
        return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed by the broker")
            data += part
        return data
