"""What the broker's tests share: accounts made up on the spot, a running broker, and clients of several kinds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Queue

import msgspec
import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from broker.counters import BrokerCounters
from broker.service import BrokerService
from gpumon.roles import Principal, Role
from gpumon.settings import BrokerSettings, MqttSettings, Settings
from gpumon.topics import Topics
from tests.support import eventually, free_port

PASSWORD = "correct"
TOPICS = Topics()
ACCOUNTS = {
    "w1": Role.WORKER,
    "w2": Role.WORKER,
    "eye": Role.VIEWER,
    "research": Role.OPERATOR,
    "home": Role.INTEGRATION,
    "root": Role.ADMIN,
    "master": Role.MASTER,
}


class FakeDirectory:
    """Knows everybody of `ACCOUNTS`, and any worker `w<number>`; everybody's password is the same."""

    def authenticate(self, username: str, password: str) -> Principal | None:
        role = ACCOUNTS.get(username, Role.WORKER if username[:1] == "w" and username[1:].isdigit() else None)
        return Principal(username, role) if role is not None and password == PASSWORD else None


@dataclass
class RunningBroker:
    """A broker that runs in a thread of the test's process."""

    port: int
    service: BrokerService

    @property
    def counters(self) -> BrokerCounters:
        return self.service.counters


def settings_for(port: int, **broker: int) -> Settings:
    return Settings(mqtt=MqttSettings(port=port), broker=msgspec.convert(broker, BrokerSettings))


@contextlib.contextmanager
def running_broker(directory: FakeDirectory | None = None, **broker: int) -> Iterator[RunningBroker]:
    """Run a broker with these settings of the section `broker`."""
    port = free_port()
    service = BrokerService(settings_for(port, **broker), directory or FakeDirectory(), TOPICS)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(service.start(), loop).result(10)
        yield RunningBroker(port, service)
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
    user: str, *, password: str = PASSWORD, client_id: str = "raw", keepalive_s: int = 60, level: int = 4
) -> bytes:
    """Build a CONNECT by hand, for clients that do what paho would not."""
    body = encoded("MQTT") + bytes((level, 0xC2)) + struct.pack("!H", keepalive_s) + (b"\0" if level == 5 else b"")
    return packet(0x10, body + encoded(client_id) + encoded(user) + encoded(password))


def publish_packet(topic: str, payload: bytes, qos: int = 0, packet_id: int = 1) -> bytes:
    """Build a PUBLISH by hand."""
    return packet(0x30 | qos << 1, encoded(topic) + (struct.pack("!H", packet_id) if qos else b"") + payload)


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

    def is_closed(self) -> bool:
        """Read until the broker closes the connection; fails where it does not within the socket's timeout."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed by the broker")
            data += part
        return data
