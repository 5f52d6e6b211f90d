"""What one client may cost: the size of a packet, what waits for a slow reader, how much it may subscribe to."""

from __future__ import annotations

import logging
import socket

import pytest

from broker import hub
from tests.broker.support import (
    RawClient,
    RunningBroker,
    client,
    connect_packet,
    encoded,
    packet,
    publish_packet,
    running_broker,
    subscribe_packet,
)
from tests.support import eventually

EVENT = "gpumon/w1/event"
METRICS = "gpumon/w1/metrics"


def test_a_packet_of_10_mb_closes_its_connection_before_it_is_read_with_one_clear_line(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with client(broker.port, "eye") as reader, client(broker.port, "w2") as other:
        reader.subscribe("gpumon/#", 1)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                with RawClient(broker.port, connect_packet("w1")) as raw:
                    raw.receive()
                    header = publish_packet(METRICS, bytes(10_000_000))[:40]
                    raw.send(header)  # not one byte more: the header is enough to be refused
                    assert raw.is_closed()
        other.publish("gpumon/w2/event", "fine")
        assert reader.get().payload == b"fine"
    assert broker.counters.oversized_packets == 3
    assert [record.getMessage() for record in caplog.records] == [
        "'w1' at 127.0.0.1 sent a packet of 10000019 bytes; at most 2097152 are taken (broker.max_packet_bytes): "
        "its connection is closed"
    ]


def test_the_largest_packet_is_a_setting() -> None:
    with running_broker(max_packet_bytes=2048) as broker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#")
        with RawClient(broker.port, connect_packet("w1")) as raw:
            raw.receive()
            raw.send(publish_packet(METRICS, bytes(2000)))
            assert len(reader.get().payload) == 2000
            raw.send(publish_packet(METRICS, bytes(2048)))
            assert raw.is_closed()


def test_a_reader_that_stops_reading_loses_the_oldest_messages_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    count, batch, size = 3000, 20, 20_000
    swift = running_broker(max_queued_messages=50, max_bytes_per_s=1e9, max_messages_per_s=1e6)
    with swift as broker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#", 1)
        with RawClient(broker.port) as slow, client(broker.port, "w1") as worker:
            slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            slow.send(connect_packet("research"), subscribe_packet("gpumon/#", 1))
            assert [slow.receive()[0], slow.receive()[0]] == [0x20, 0x90]
            for start in range(0, count, batch):
                for number in range(start, start + batch):
                    worker.paho.publish(METRICS, b"%d " % number + bytes(size), 0)
                worker.publish(EVENT, "the batch is complete", 0)
                received = [reader.get() for _ in range(batch + 1)]
                assert [message.topic for message in received] == [METRICS] * batch + [EVENT]
            assert broker.counters.dropped_messages > count / 2
            # What it reads at last is in order, up to the very end.
            newest = -1
            while newest < count - 1:
                first, body = slow.receive()
                if first == 0x30 and METRICS.encode() in body[:30]:
                    number = int(body[2 + len(METRICS) :].split(b" ")[0])
                    assert number > newest
                    newest = number
    lines = [record.getMessage() for record in caplog.records if "keep up" in record.getMessage()]
    assert lines == [
        "'research' at 127.0.0.1 does not keep up: the oldest of the messages that wait for it are dropped"
    ]


def test_a_client_that_never_reads_its_answers_is_not_read_either(broker: RunningBroker) -> None:
    with RawClient(broker.port) as mute, client(broker.port, "eye") as reader, client(broker.port, "w2") as worker:
        reader.subscribe("gpumon/#", 1)
        mute.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mute.send(connect_packet("w1"))
        mute.receive()
        mute.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            _send_pings_until_nobody_takes_them(mute)
        worker.publish("gpumon/w2/event", "fine")
        assert reader.get().payload == b"fine"


def _send_pings_until_nobody_takes_them(client: RawClient) -> None:
    while True:
        client.send(b"\xc0\0" * 50_000)


def test_a_client_that_floods_keeps_the_others_waiting_for_no_more_than_its_turn(swift_broker: RunningBroker) -> None:
    broker = swift_broker
    with (
        client(broker.port, "eye") as reader,
        client(broker.port, "w2") as worker,
        RawClient(broker.port, connect_packet("w1")) as flooding,
    ):
        reader.subscribe("gpumon/w2/event", 1)
        flooding.receive()
        for _ in range(20):
            flooding.send(publish_packet(METRICS, b"x") * 5000)
            worker.publish("gpumon/w2/event", "fine")
            assert reader.get().payload == b"fine"
        eventually(lambda: broker.counters.messages_in >= 100_020)


def test_subscriptions_of_one_client_are_bounded(broker: RunningBroker) -> None:
    with RawClient(broker.port, connect_packet("eye")) as raw:
        raw.receive()
        filters = b"".join(encoded(f"gpumon/x{number}/cmd") + b"\0" for number in range(1001))
        raw.send(packet(0x82, b"\0\1" + filters))
        assert raw.receive()[1] == b"\0\1" + bytes(1000) + b"\x80"
    assert broker.counters.refused_subscriptions == 1


def test_subscriptions_of_one_user_are_bounded_over_all_its_connections(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_SUBSCRIPTIONS_OF_A_USER", 15)
    filters = packet(0x82, b"\0\1" + b"".join(encoded(f"gpumon/x{number}/cmd") + b"\0" for number in range(10)))
    with RawClient(broker.port, connect_packet("eye", client_id="a"), filters) as first:
        assert [first.receive()[0], first.receive()[1]] == [0x20, b"\0\1" + bytes(10)]
        with RawClient(broker.port, connect_packet("eye", client_id="b"), filters, filters) as second:
            assert [second.receive()[0], second.receive()[1]] == [0x20, b"\0\1" + bytes(5) + b"\x80" * 5]
            second.receive()
        with client(broker.port, "research") as other:
            assert other.subscribe("gpumon/#") == 0
    eventually(lambda: broker.counters.connections == 0)
    with RawClient(broker.port, connect_packet("eye"), filters) as later:
        assert [later.receive()[0], later.receive()[1]] == [0x20, b"\0\1" + bytes(10)]
