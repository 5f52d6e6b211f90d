"""The way in, tried by those who want to keep others out: half-open connections, endless ones, nonsense, many."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import admission
from broker.connect_packet import Connect, ConnectRefusedError, decode_connect
from broker.limits import Limits
from broker.packets import MalformedPacketError, Packet
from tests.broker.support import (
    RawClient,
    RunningBroker,
    client,
    connect_packet,
    encoded,
    packet,
    publish_packet,
    running_broker,
)
from tests.support import eventually

LET_IN = (0x20, b"\0\0")


@contextlib.contextmanager
def opened(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open so many connections that say this and no more."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=10))
            if first:
                with contextlib.suppress(ConnectionError):
                    sockets[-1].sendall(first)
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _many() -> int:
    """Return how many connections can be held at both ends by this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(200, min(10_000, (soft - 500) // 2))


def test_ten_thousand_half_open_connections_keep_nobody_out(broker: RunningBroker) -> None:
    with client(broker.port, "w1") as worker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#", 1)
        many = _many()
        with opened(broker.port, many, b"\x10\x7f\0\4MQ"):
            with RawClient(broker.port, connect_packet("w2", client_id="honest")) as honest:
                honest.socket.settimeout(60)
                assert honest.receive() == LET_IN
            worker.publish("gpumon/w1/event", "fine")
            assert reader.get().payload == b"fine"
            assert broker.counters.refused_connections == 0
            assert many < 5000 or broker.counters.evicted_guests > 0


@pytest.mark.parametrize("first", [b"", b"\x10"], ids=["silent", "one byte"])
def test_those_who_say_nothing_make_room_for_those_who_do(first: bytes) -> None:
    with running_broker(limits=Limits(max_half_open=200)) as broker, opened(broker.port, 300, first):
        with RawClient(broker.port, connect_packet("w2", client_id="honest")) as honest:
            assert honest.receive() == LET_IN
        assert broker.counters.evicted_guests >= 101
        assert broker.counters.refused_connections == 0


def test_half_open_connections_of_one_address_are_turned_away_for_its_own_next_ones() -> None:
    limits = Limits(max_connections_per_address=20, spare_loopback=False)
    with running_broker(limits=limits) as broker, opened(broker.port, 20) as first:
        eventually(lambda: broker.service._broker is not None and broker.service._broker._gate.half_open == 20)
        with opened(broker.port, 1) as refused:
            assert refused[0].recv(1) == b""
        eventually(lambda: _lets_in(broker.port, "w1"), interval_s=0.3)
        assert first[0].recv(1) == b""


def _lets_in(port: int, user: str) -> bool:
    try:
        with RawClient(port, connect_packet(user, client_id="late")) as late:
            return late.receive() == LET_IN
    except ConnectionError:
        return False


def test_connections_in_all_are_bounded_and_those_that_are_there_go_on() -> None:
    with running_broker(limits=Limits(max_connections=12)) as broker, contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(RawClient(broker.port, connect_packet(f"w{n}", client_id=f"c{n}"))) for n in range(12)
        ]
        assert [each.receive() for each in held] == [LET_IN] * 12
        with RawClient(broker.port) as refused:
            refused.send_anyway(connect_packet("eye", client_id="late"))
            assert refused.read_to_the_end() == b""
        assert [each.collect() for each in held] == [[]] * 12
        held[0].socket.close()
        eventually(lambda: _lets_in(broker.port, "eye"))
        assert broker.counters.refused_connections >= 1


def test_who_takes_too_long_to_introduce_itself_is_closed_however_busy_it_looks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(admission, "INTRODUCTION_TIMEOUT_S", 0.5)
    with running_broker() as broker, RawClient(broker.port) as slow, client(broker.port, "w1"):
        whole = connect_packet("w2", client_id="x" * 5000)
        for byte in whole[:200]:
            slow.send_anyway(bytes((byte,)))
            if broker.counters.timed_out_guests:
                break
        assert slow.is_closed()
        assert broker.counters.timed_out_guests == 1
        eventually(lambda: broker.counters.connections == 1)


@pytest.mark.parametrize("length", [16 * 1024 + 1, 256 * 1024, 268_435_455])
def test_a_large_connect_is_refused_by_its_header(broker: RunningBroker, length: int) -> None:
    with RawClient(broker.port) as raw:
        raw.send(packet(0x10, bytes(length))[:8] if length < 1_000_000 else b"\x10\xff\xff\xff\x7f")
        assert raw.is_closed()
    with RawClient(broker.port, connect_packet("w1", will=("gpumon/w1/status", bytes(16_000), 1, False))) as fits:
        assert fits.receive() == LET_IN


def test_a_worker_holds_eight_connections_and_its_oldest_makes_room(broker: RunningBroker) -> None:
    with contextlib.ExitStack() as stack:
        held = []
        for number in range(9):
            connect = connect_packet("w1", client_id=f"copy-{number}")
            held.append(stack.enter_context(RawClient(broker.port, connect)))
            assert held[-1].receive() == LET_IN
        assert held[0].is_closed()
        assert [each.collect() for each in held[1:]] == [[]] * 8


def test_two_strangers_share_a_key_but_never_a_client_id(broker: RunningBroker) -> None:
    request, reply = "gpumon/join/secret-1", "gpumon/join/secret-1/reply"
    with RawClient(broker.port, connect_packet("join", client_id="secret-1")) as first:
        assert first.receive() == LET_IN
        with RawClient(broker.port, connect_packet("join", client_id="secret-1")) as second:
            assert second.receive() == (0x20, b"\0\2")
            assert second.is_closed()
        with (
            RawClient(broker.port, connect_packet("join", client_id="secret-2")) as other,
            client(broker.port, "master") as master,
        ):
            assert other.receive() == LET_IN
            master.subscribe("gpumon/join/+", 1)
            for stranger in (first, other):
                stranger.send(packet(0x82, b"\0\1" + encoded(reply) + b"\1"))
            assert [first.receive()[1], other.receive()[1]] == [b"\0\1\1", b"\0\1\x80"]
            first.send(publish_packet(request, b'{"worker_id":"w9"}'))
            assert master.get().payload == b'{"worker_id":"w9"}'
            master.publish(reply, b'{"token":"t"}')
            assert [message.payload for message in first.collect()] == [b'{"token":"t"}']
            assert other.collect() == []


@pytest.mark.parametrize("client_id", ["", "+", "#", "a/b", "gpumon/join/x", "x" * 129])
def test_a_strangers_client_id_with_a_meaning_in_topics_is_refused(broker: RunningBroker, client_id: str) -> None:
    with RawClient(broker.port, connect_packet("join", client_id=client_id)) as stranger:
        assert stranger.receive() == (0x20, b"\0\2")
        assert stranger.is_closed()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_connect_or_none(body: bytes) -> None:
    for whole in (body, b"\0\4MQTT\4" + body):
        try:
            connect = decode_connect(Packet(1, 0, whole))
        except (MalformedPacketError, ConnectRefusedError):
            continue
        assert isinstance(connect, Connect)
        assert connect.client_id


def test_a_damaged_connect_or_what_follows_it_hurts_nobody(broker: RunningBroker) -> None:
    chance = random.Random(5)
    good = connect_packet("w2", will=("gpumon/w2/status", b"offline", 1, True)) + publish_packet(
        "gpumon/w2/event", b"x"
    )
    with client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        reader.subscribe("gpumon/w1/event", 1)
        for _ in range(300):
            damaged = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            with RawClient(broker.port) as raw:
                raw.send_anyway(bytes(damaged[: chance.randrange(1, len(damaged) + 1)]))
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, chance.randrange(2)))
        worker.publish("gpumon/w1/event", "fine")
        assert reader.get().payload == b"fine"
    eventually(lambda: broker.counters.connections == 0)
