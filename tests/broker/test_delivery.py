"""Who gets a message, at which QoS, retained or live."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.broker.support import (
    RawClient,
    Received,
    RunningBroker,
    client,
    connect_packet,
    publish_packet,
    running_broker,
)
from tests.support import eventually

EVENT = "gpumon/w1/event"
METRICS = "gpumon/w1/metrics"


@pytest.mark.parametrize(
    ("published", "asked", "delivered"), [(0, 0, 0), (0, 1, 0), (0, 2, 0), (1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 2, 1)]
)
def test_a_message_is_delivered_at_the_lower_qos(
    shared_broker: RunningBroker, published: int, asked: int, delivered: int
) -> None:
    with client(shared_broker.port, "eye") as reader, client(shared_broker.port, "w1") as worker:
        assert reader.subscribe(EVENT, asked) == min(asked, 1)
        worker.publish(EVENT, "here", published)
        assert reader.get() == Received(EVENT, b"here", delivered, retained=False)


def test_a_retained_message_comes_on_subscribing_at_the_lower_qos_and_marked(broker: RunningBroker) -> None:
    with client(broker.port, "w1") as worker:
        worker.publish(METRICS, "old", 0, retain=True)
        worker.publish(METRICS, "new", 0, retain=True)
        worker.publish("gpumon/w1/status", "online", 1, retain=True)
        worker.publish("gpumon/w1/event", "not retained", 1)
    with client(broker.port, "eye") as reader:
        reader.subscribe(METRICS, 1)
        assert reader.get() == Received(METRICS, b"new", 0, retained=True)
        reader.subscribe("gpumon/+/status", 1)
        assert reader.get() == Received("gpumon/w1/status", b"online", 1, retained=True)
        reader.subscribe("gpumon/#", 0)
        assert {(message.payload, message.retained) for message in (reader.get(), reader.get())} == {
            (b"new", True),
            (b"online", True),
        }
        assert not reader.seen()


def test_a_retained_message_is_live_for_those_who_had_subscribed_before(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        reader.subscribe(METRICS)
        worker.publish(METRICS, "live", 0, retain=True)
        assert reader.get() == Received(METRICS, b"live", 0, retained=False)


def test_an_empty_retained_message_clears_the_topic_and_is_delivered(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        worker.publish(METRICS, "x", 0, retain=True)
        reader.subscribe(METRICS)
        assert reader.get().payload == b"x"
        worker.publish(METRICS, b"", 0, retain=True)
        assert reader.get() == Received(METRICS, b"", 0, retained=False)
        reader.subscribe(METRICS)
        worker.publish(METRICS, "the next", 0)
        assert reader.get().payload == b"the next"


def test_overlapping_filters_deliver_a_message_once_at_the_highest_qos(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        reader.subscribe("gpumon/#", 0)
        reader.subscribe("gpumon/+/event", 1)
        reader.subscribe(EVENT, 0)
        worker.publish(EVENT, "once")
        worker.publish(EVENT, "the next")
        assert [reader.get(), reader.get()] == [
            Received(EVENT, b"once", 1, retained=False),
            Received(EVENT, b"the next", 1, retained=False),
        ]


def test_subscribing_again_replaces_the_qos_and_unsubscribing_ends_it(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        reader.subscribe(EVENT, 1)
        reader.subscribe(EVENT, 0)
        worker.publish(EVENT, "a", 1)
        assert reader.get().qos == 0
        ended = threading.Event()
        reader.paho.on_unsubscribe = lambda *_: ended.set()
        reader.paho.unsubscribe(EVENT)
        assert ended.wait(10)
        worker.publish(EVENT, "b", 1)
        reader.subscribe("gpumon/w1/info")
        worker.publish("gpumon/w1/info", "c", 1)
        assert reader.get().payload == b"c"


def test_exact_filters_and_wildcards_get_the_same_message(broker: RunningBroker) -> None:
    filters = ("gpumon/w1/cmd/result", "gpumon/+/cmd/result", "gpumon/w1/cmd/#", "gpumon/w1/#", "gpumon/#")
    with client(broker.port, "w1") as worker, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(client(broker.port, "eye")) for _ in filters]
        for reader, topic_filter in zip(readers, filters, strict=True):
            reader.subscribe(topic_filter, 1)
        worker.publish("gpumon/w1/cmd/result", "done")
        assert [reader.get().payload for reader in readers] == [b"done"] * len(filters)


def test_somebody_who_subscribes_during_a_broadcast_costs_nobody_a_message(swift_broker: RunningBroker) -> None:
    broker = swift_broker
    count = 2000
    stop = threading.Event()

    def come_and_go(name: str) -> None:
        with client(broker.port, "eye", client_id=f"restless-{name}") as restless:
            number = 0
            while not stop.is_set():
                number += 1
                restless.subscribe(f"gpumon/w{name}{number}/metrics")

    with (
        client(broker.port, "eye") as first,
        client(broker.port, "research") as second,
        client(broker.port, "w1") as w1,
    ):
        first.subscribe(EVENT, 1)
        second.subscribe("gpumon/+/event", 1)
        threads = [threading.Thread(target=come_and_go, args=(name,)) for name in ("1", "2")]
        for thread in threads:
            thread.start()
        try:
            for number in range(count):
                w1.paho.publish(EVENT, str(number), 1)
            expected = [str(number).encode() for number in range(count)]
            assert [first.get().payload for _ in range(count)] == expected
            assert [second.get().payload for _ in range(count)] == expected
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)


def test_a_reader_that_never_acknowledges_does_not_delay_the_others(swift_broker: RunningBroker) -> None:
    broker = swift_broker
    count = 1500
    with client(broker.port, "eye") as lazy, client(broker.port, "research") as reader, client(broker.port, "w1") as w1:
        lazy.paho.manual_ack_set(True)
        lazy.subscribe(EVENT, 1)
        reader.subscribe(EVENT, 1)
        for number in range(count):
            w1.paho.publish(EVENT, str(number), 1)
        assert [reader.get().payload for _ in range(count)] == [str(number).encode() for number in range(count)]
        # As many as may be in flight come without an acknowledgement; the rest waits for one, QoS 0 goes on.
        eventually(lambda: lazy.messages.qsize() == 1000)
        w1.publish(EVENT, "plain", 0)
        eventually(lambda: lazy.messages.qsize() == 1001)


def test_a_qos_2_message_sent_twice_before_its_release_is_delivered_once(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader, RawClient(broker.port, connect_packet("w1")) as raw:
        reader.subscribe(EVENT, 1)
        assert raw.receive() == (0x20, b"\0\0")
        raw.send(publish_packet(EVENT, b"once", 2, 7))
        assert raw.receive() == (0x50, b"\0\7")
        raw.send(publish_packet(EVENT, b"once", 2, 7), b"\x62\2\0\7")
        assert [raw.receive(), raw.receive()] == [(0x50, b"\0\7"), (0x70, b"\0\7")]
        raw.send(publish_packet(EVENT, b"the next", 2, 7))
        assert [reader.get().payload, reader.get().payload] == [b"once", b"the next"]


def test_the_retained_messages_of_a_fleet_larger_than_the_queue_all_come() -> None:
    with running_broker(max_queued_messages=10) as small, client(small.port, "root") as admin:
        for number in range(300):
            admin.paho.publish(f"gpumon/w{number}/info", bytes(20_000), 1, retain=True)
        admin.publish("gpumon/w300/info", bytes(20_000), retain=True)
        with client(small.port, "eye") as reader:
            reader.subscribe("gpumon/+/info", 1)
            assert {reader.get().topic for _ in range(301)} == {f"gpumon/w{number}/info" for number in range(301)}
        assert small.counters.dropped_messages == 0
