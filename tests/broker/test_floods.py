"""What one client that is let in may send and leave unread, while the others are served as ever."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time

import pytest

from broker import fleet_broker, hub
from broker.limits import Limits
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

EVENT, METRICS = "gpumon/w1/event", "gpumon/w1/metrics"


class Flood:
    """Sends the same packets again and again, and reads whatever comes, in two threads until it is stopped."""

    def __init__(self, raw: RawClient, packets: bytes) -> None:
        self._raw = raw
        self._packets = packets
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._send, self._read)]

    def __enter__(self) -> Flood:
        self._raw.socket.setblocking(False)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _send(self) -> None:
        waiting = b""
        while not self._stop.is_set():
            waiting = waiting or self._packets
            if select.select([], [self._raw.socket], [], 0.1)[1]:
                waiting = waiting[self._raw.socket.send(waiting) :]

    def _read(self) -> None:
        while not self._stop.is_set():
            if select.select([self._raw.socket], [], [], 0.1)[0] and not self._raw.socket.recv(1_000_000):
                return


def test_a_client_over_its_rate_is_slowed_down_and_loses_nothing() -> None:
    with (
        running_broker(limits=Limits(max_messages_per_s=100)) as broker,
        client(broker.port, "eye") as reader,
        RawClient(broker.port, connect_packet("w1")) as busy,
    ):
        reader.subscribe(EVENT, 1)
        busy.receive()
        began = time.monotonic()
        busy.send(*(publish_packet(EVENT, b"%d" % number) for number in range(600)))
        assert [int(reader.get().payload) for _ in range(600)] == list(range(600))
        assert time.monotonic() - began > 0.9  # five seconds' worth is saved, a sixth is to be earned
        assert broker.counters.slowed_packets > 0


def test_a_flood_of_one_client_is_held_back_by_not_reading_it_and_the_others_are_served(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        client(broker.port, "eye") as reader,
        client(broker.port, "w2") as other,
        RawClient(broker.port, connect_packet("w1")) as raw,
        caplog.at_level(logging.WARNING),
    ):
        reader.subscribe("gpumon/w2/event", 1)
        raw.receive()
        with Flood(raw, publish_packet(METRICS, bytes(1000)) * 1000):
            eventually(lambda: broker.counters.slowed_packets)
            for number in range(100):
                other.publish("gpumon/w2/event", str(number))
                assert reader.get().payload == str(number).encode()
            assert broker.counters.messages_in < 3000
    lines = [record.getMessage() for record in caplog.records if "slowed down" in record.getMessage()]
    assert lines == [
        "'w1' at 127.0.0.1 sends more than broker.max_messages_per_s or broker.max_bytes_per_s: it is slowed down"
    ]


@pytest.mark.parametrize(
    "packets",
    [
        b"\xc0\0" * 1000,
        subscribe_packet("gpumon/#") * 1000,
        (subscribe_packet("gpumon/#") + packet(0xA2, b"\0\2" + encoded("gpumon/#"))) * 500,
        packet(0x82, b"\0\1" + (encoded("gpumon/#") + b"\0") * 500),
        packet(0x40, b"\0\1") * 1000,
        packet(0x62, b"\0\1") * 1000,
        publish_packet("gpumon/w1/cmd", bytes(60_000)) * 50,
    ],
    ids=["PINGREQ", "SUBSCRIBE", "SUBSCRIBE and UNSUBSCRIBE", "many filters", "PUBACK", "PUBREL", "refused PUBLISH"],
)
def test_a_flood_of_any_packet_is_slowed_down_and_the_others_are_served(broker: RunningBroker, packets: bytes) -> None:
    with client(broker.port, "root") as admin, client(broker.port, "w2") as other:
        for number in range(500):
            admin.paho.publish(f"gpumon/w{number}/info", bytes(100), 1, retain=True)
        admin.subscribe("gpumon/w2/event", 1)
        with RawClient(broker.port, connect_packet("eye")) as raw:
            raw.receive()
            with Flood(raw, packets):
                eventually(lambda: broker.counters.slowed_packets)
                for number in range(20):
                    other.publish("gpumon/w2/event", str(number))
                    assert admin.get().payload == str(number).encode()


def test_connecting_again_earns_no_new_allowance() -> None:
    with running_broker(limits=Limits(max_messages_per_s=50)) as broker, client(broker.port, "master") as reader:
        reader.subscribe(EVENT, 1)
        for attempt in range(5):
            with RawClient(broker.port, connect_packet("w1", client_id=f"again-{attempt}")) as raw:
                raw.receive()
                raw.send(*(publish_packet(EVENT, b"%d" % number) for number in range(200)))
                raw.collect() if attempt == 0 else None
        eventually(lambda: broker.counters.slowed_packets)
        assert broker.counters.messages_in < 400


def test_the_master_is_not_slowed_down() -> None:
    limits = Limits(max_messages_per_s=1, max_bytes_per_s=1024)
    with running_broker(limits=limits) as broker, RawClient(broker.port, connect_packet("master")) as master:
        master.receive()
        master.send(*(publish_packet("gpumon/w1/cmd", bytes(1000)) for _ in range(500)))
        master.collect()
        assert (broker.counters.messages_in, broker.counters.slowed_packets) == (500, 0)


def test_a_client_that_is_slowed_down_for_longer_than_its_keepalive_is_not_taken_for_dead() -> None:
    with (
        running_broker(limits=Limits(max_messages_per_s=10)) as broker,
        RawClient(broker.port, connect_packet("w1", keepalive_s=1)) as slowed,
    ):
        slowed.receive()
        slowed.send(*(publish_packet(EVENT, b"x") for _ in range(70)))
        slowed.collect()
        assert broker.counters.messages_in == 70


def test_a_megabyte_of_output_passes_at_once(broker: RunningBroker) -> None:
    chunk = 8192
    with client(broker.port, "eye") as reader, RawClient(broker.port, connect_packet("w1")) as worker:
        reader.subscribe("gpumon/w1/cmd/output", 1)
        worker.receive()
        count = 2**20 // chunk
        worker.send(*(publish_packet("gpumon/w1/cmd/output", bytes(chunk), 1, n + 1) for n in range(count)))
        assert sum(len(reader.get().payload) for _ in range(count)) == 2**20
        assert broker.counters.slowed_packets == 0


@pytest.mark.parametrize(
    "header",
    [
        b"\x82\x81\x80\x04",
        b"\xa2\x81\x80\x04",
        b"\xc0\x81\x80\x04",
        b"\x40\x81\x80\x04",
        b"\x10\xff\xff\xff\x7f",
        b"\x30\xff\xff\xff\x7f",
        b"\x82\xff\xff\xff\x7f",
    ],
)
def test_a_giant_packet_of_any_kind_is_refused_by_its_header(shared_broker: RunningBroker, header: bytes) -> None:
    with RawClient(shared_broker.port, connect_packet("w1")) as raw:
        raw.receive()
        raw.send(header)
        assert raw.is_closed()


def test_a_viewer_who_may_publish_nothing_is_not_read_megabytes_from(broker: RunningBroker) -> None:
    with RawClient(broker.port, connect_packet("eye")) as raw:
        raw.receive()
        raw.send(publish_packet(EVENT, bytes(70_000))[:100])
        assert raw.is_closed()


def test_endless_topics_and_filters_are_refused(broker: RunningBroker) -> None:
    with RawClient(broker.port, connect_packet("root")) as raw:
        raw.receive()
        raw.send(subscribe_packet("gpumon/" + "x" * 1100))
        assert raw.receive()[1] == b"\0\1\x80"
        raw.send(publish_packet("gpumon/" + "x" * 1100, b"x"))
        assert raw.collect() == []
    assert (broker.counters.refused_subscriptions, broker.counters.refused_publishes) == (1, 1)


def test_a_worker_that_announces_endless_devices_has_a_bounded_number_retained(broker: RunningBroker) -> None:
    topics = [
        f"homeassistant/device/gpumon_w1_gpu-{number:08x}-1b2c-3d4e-5f60-718293a4b5c6/config" for number in range(400)
    ]
    with (
        RawClient(broker.port, connect_packet("w1")) as worker,
        RawClient(broker.port, connect_packet("eye", client_id="eye")) as eye,
    ):
        assert [worker.receive()[1][1], eye.receive()[1][1]] == [0, 0]
        worker.send(*(publish_packet(topic, b"{}", retain=True) for topic in topics))
        worker.collect()
        eye.send(subscribe_packet("homeassistant/#"))
        assert len(eye.collect()) == 256
    with client(broker.port, "w2") as other, client(broker.port, "eye") as reader:
        other.publish("gpumon/w2/info", "kept", retain=True)
        reader.subscribe("gpumon/w2/info")
        assert reader.get().payload == b"kept"
    assert broker.counters.unretained_messages == 144


def test_readers_who_leave_megabytes_unread_are_disconnected_when_they_wait_for_too_much_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most, size = 20 * 2**20, 100_000
    for module in (fleet_broker, hub):
        monkeypatch.setattr(module, "MAX_QUEUED_BYTES_IN_ALL", most)
    with (
        running_broker(max_bytes_per_s=1e9, max_messages_per_s=1e6) as broker,
        contextlib.ExitStack() as stack,
        client(broker.port, "eye") as reader,
        RawClient(broker.port, connect_packet("w1")) as worker,
    ):
        worker.receive()
        reader.subscribe("gpumon/#", 1)
        for number in range(10):
            worker.send(*(publish_packet(METRICS, bytes(size)) for _ in range(40)))  # what each misses is another's
            assert [len(reader.get().payload) for _ in range(40)] == [size] * 40
            lazy = stack.enter_context(RawClient(broker.port))
            lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            lazy.send(connect_packet("research", client_id=f"lazy-{number}"), subscribe_packet("gpumon/#"))
            assert [lazy.receive()[0], lazy.receive()[0]] == [0x20, 0x90]
        running = broker.service._broker
        assert running is not None
        for _ in range(200):
            worker.send(publish_packet(METRICS, bytes(size)))
            assert len(reader.get().payload) == size
            assert running._hub.queued.size <= most + size  # a message is counted before room is made
        assert broker.counters.closed_readers > 0
        assert broker.counters.connections < 12
    eventually(lambda: running._hub.queued.size == 0)
