"""MQTT packets: the decoders one by one, and a real broker that is sent damaged conversations while others use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st

from broker.connect_packet import ConnectRefusedError, decode_connect
from broker.packets import (
    MalformedPacketError,
    Message,
    Packet,
    PacketTooLargeError,
    decode_packet_id,
    decode_publish,
    decode_subscribe,
    decode_unsubscribe,
    is_topic_name,
    read_packet,
)
from tests.broker.support import (
    Client,
    RunningBroker,
    client,
    connect_packet,
    encoded,
    packet,
    publish_packet,
    running_broker,
    subscribe_packet,
)
from tests.fuzz.fuzzing import ODD_TEXT, fuzzed, mutated
from tests.fuzz.test_topics import topics

MAX_BYTES = 4096
USERS = ["w1", "w2", "eye", "research", "home", "root", "join", "nobody", ""]


def _with_will(user: str, topic: str, payload: bytes) -> bytes:
    body = encoded("MQTT") + bytes((4, 0xC6)) + b"\0\x05" + encoded("will")
    return packet(0x10, body + encoded(topic) + encoded(payload) + encoded(user) + encoded("correct"))


connects = st.one_of(
    st.builds(
        connect_packet,
        st.sampled_from(USERS),
        client_id=st.one_of(st.sampled_from(["", "c1", "raw"]), ODD_TEXT),
        keepalive_s=st.integers(0, 65535),
        level=st.sampled_from([3, 4, 4, 4, 5]),
    ),
    st.builds(_with_will, st.sampled_from(USERS), topics, st.binary(max_size=20)),
)
packet_ids = st.sampled_from([0, 1, 2, 65535])
publishes = st.builds(publish_packet, topics, st.binary(max_size=40), st.sampled_from([0, 1, 2, 3]), packet_ids)
subscribes = st.builds(subscribe_packet, topics, st.sampled_from([0, 1, 2, 3]), packet_ids)
unsubscribes = topics.map(lambda topic: packet(0xA2, b"\0\1" + encoded(topic)))
others = st.builds(
    packet,
    st.sampled_from([0x40, 0x50, 0x62, 0x70, 0xC0, 0xD0, 0xE0, 0x20, 0x90, 0xF0, 0]),
    st.sampled_from([b"", b"\0\1", b"\0\0", b"\0"]),
)
packets = st.one_of(connects, publishes, subscribes, unsubscribes, others)
damaged = st.one_of(packets, mutated(packets), st.binary(max_size=60))
conversations = st.one_of(
    st.lists(damaged, min_size=1, max_size=4),
    st.builds(lambda first, rest: [first, *rest], connects, st.lists(damaged, max_size=5)),
)


async def _read_all(data: bytes) -> list[Packet]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            found.append(await read_packet(reader, MAX_BYTES, MAX_BYTES))
    return found


@fuzzed("packets", weight=10, data=st.lists(damaged, max_size=3).map(b"".join))
def test_a_stream_becomes_bounded_packets_or_one_of_two_errors(data: bytes) -> None:
    try:
        found = asyncio.run(_read_all(data))
    except (MalformedPacketError, PacketTooLargeError):
        return
    assert all(len(each.body) <= MAX_BYTES for each in found)
    assert sum(len(each.body) + 2 for each in found) <= len(data)


@fuzzed(
    "packets",
    weight=20,
    first=st.integers(0, 255),
    body=st.one_of(mutated(packets.map(lambda whole: whole[2:])), st.binary(max_size=60)),
)
def test_a_packet_is_taken_apart_or_malformed(first: int, body: bytes) -> None:
    whole = Packet(first >> 4, first & 0x0F, body)
    with contextlib.suppress(MalformedPacketError, ConnectRefusedError):
        connect = decode_connect(whole)
        assert connect.client_id
        assert "\0" not in f"{connect.client_id}{connect.username}"
    with contextlib.suppress(MalformedPacketError):
        message, packet_id = decode_publish(whole)
        assert is_topic_name(message.topic)
        assert message.qos in (0, 1, 2)
        assert (packet_id is None) is (message.qos == 0)
    with contextlib.suppress(MalformedPacketError):
        _, wanted = decode_subscribe(whole)
        assert wanted
        assert all(qos in (0, 1, 2) for _, qos in wanted)
    with contextlib.suppress(MalformedPacketError):
        assert decode_unsubscribe(whole)[1]
    with contextlib.suppress(MalformedPacketError):
        assert 0 < decode_packet_id(body) <= 65535


@fuzzed(
    "packets",
    weight=3,
    topic=topics.filter(is_topic_name),
    payload=st.binary(max_size=300),
    packet_id=st.one_of(st.none(), st.integers(1, 65535)),
    retain=st.booleans(),
)
def test_a_message_that_is_built_is_read_back_as_it_was(
    topic: str, payload: bytes, packet_id: int | None, *, retain: bool
) -> None:
    built = Message(topic, payload, 0 if packet_id is None else 1).encode(packet_id, retain=retain)
    (whole,) = asyncio.run(_read_all(built))
    message, read_id = decode_publish(whole)
    assert (message.topic, message.payload, message.retain, read_id) == (topic, payload, retain, packet_id)


@dataclass
class Watched:
    """A broker, and two clients that keep using it."""

    broker: RunningBroker
    worker: Client
    reader: Client
    count: int = 0
    logged: list[logging.LogRecord] = field(default_factory=list)


class _Keeping(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """A broker that is used properly the whole time."""
    with running_broker() as broker, client(broker.port, "w7") as worker, client(broker.port, "master") as reader:
        assert reader.subscribe("gpumon/w7/event", 1) == 1
        found = Watched(broker, worker, reader)
        keeping = _Keeping(found.logged)
        for name in ("broker", "asyncio", "amqtt"):
            logging.getLogger(name).addHandler(keeping)
        yield found
        for name in ("broker", "asyncio", "amqtt"):
            logging.getLogger(name).removeHandler(keeping)


@fuzzed("broker", weight=4, conversation=conversations)
def test_a_broker_survives_damaged_conversations_and_serves_the_others(
    watched: Watched, conversation: list[bytes]
) -> None:
    with socket.create_connection(("127.0.0.1", watched.broker.port), timeout=10) as connection:
        with contextlib.suppress(OSError):  # the broker may have closed it already
            for each in conversation:
                connection.sendall(each)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                pass
    watched.count += 1
    payload = str(watched.count).encode()
    watched.worker.publish("gpumon/w7/event", payload)
    while watched.reader.get().payload != payload:
        pass
    assert not watched.logged, watched.logged[0].getMessage()
