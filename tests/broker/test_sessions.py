"""Logging in, taking over, dying and leaving."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from broker.trust import SlowCheck
from gpumon.roles import Principal
from tests.broker.support import (
    FakeDirectory,
    RawClient,
    Received,
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

STATUS = "gpumon/w1/status"
ACCEPTED, WRONG_VERSION, WRONG_CLIENT_ID, UNAVAILABLE, NOT_AUTHORIZED = 0, 1, 2, 3, 5


def _will_connect(
    user: str, topic: str, payload: bytes, *, client_id: str = "raw", keepalive_s: int = 60, retain: bool = False
) -> bytes:
    flags = 0xC6 | (0x28 if retain else 0x08)  # user name, password, will of QoS 1, clean session
    body = encoded("MQTT") + bytes((4, flags, 0, keepalive_s)) + encoded(client_id) + encoded(topic)
    return packet(0x10, body + encoded(payload) + encoded(user) + encoded("correct"))


def _answer_to(port: int, connect: bytes) -> int:
    """Send a CONNECT, and return the code of the CONNACK; where it is a refusal, the connection must then end."""
    with RawClient(port, connect) as raw:
        first, body = raw.receive()
        assert first == 0x20
        if body[1] != ACCEPTED:
            assert raw.is_closed()
        return body[1]


@pytest.mark.parametrize(
    "connect",
    [
        connect_packet("w1", password="wrong"),
        connect_packet("nobody"),
        connect_packet("w1", password=""),
        connect_packet(""),
        packet(0x10, encoded("MQTT") + b"\4\2\0\x3c" + encoded("anonymous")),
        packet(0x10, encoded("MQTT") + b"\4\x82\0\x3c" + encoded("no password") + encoded("w1")),
    ],
    ids=["wrong password", "unknown", "empty password", "empty name", "anonymous", "no password"],
)
def test_a_failed_login_is_answered_closed_and_leaves_nothing(broker: RunningBroker, connect: bytes) -> None:
    assert _answer_to(broker.port, connect) == NOT_AUTHORIZED
    assert broker.counters.failed_logins == 1
    assert broker.counters.connections == 0


def test_a_failed_login_with_somebodys_client_id_does_not_disturb_that_client(broker: RunningBroker) -> None:
    with client(broker.port, "w1", client_id="mine") as worker:
        assert worker.subscribe("gpumon/w1/cmd", 1) == 1
        assert _answer_to(broker.port, connect_packet("w1", password="wrong", client_id="mine")) == NOT_AUTHORIZED
        with client(broker.port, "research") as operator:
            operator.publish("gpumon/w1/cmd", "still here?")
        assert worker.get().payload == b"still here?"


def test_a_client_id_in_use_is_not_given_to_another_user(broker: RunningBroker) -> None:
    with client(broker.port, "w1", client_id="mine") as worker:
        worker.subscribe("gpumon/w1/cmd", 1)
        assert _answer_to(broker.port, connect_packet("w2", client_id="mine")) == WRONG_CLIENT_ID
        with client(broker.port, "research") as operator:
            operator.publish("gpumon/w1/cmd", "still here?")
        assert worker.get().payload == b"still here?"


def test_a_reconnect_replaces_the_dead_connection_and_its_will_comes_before_the_new_ones_word(
    broker: RunningBroker,
) -> None:
    with client(broker.port, "eye") as reader:
        reader.subscribe(STATUS, 1)
        connect = _will_connect("w1", STATUS, b"offline", retain=True)
        connections = [RawClient(broker.port, connect)]
        for number in range(20):
            connections.append(RawClient(broker.port, connect, publish_packet(STATUS, b"online %d" % number)))
            assert [reader.get().payload for _ in range(2)] == [b"offline", b"online %d" % number]
            assert connections[-2].is_closed()
        for connection in connections:
            connection.socket.close()


def test_a_taken_over_connection_is_closed_and_its_subscriptions_are_gone(broker: RunningBroker) -> None:
    with RawClient(broker.port, connect_packet("w1"), subscribe_packet("gpumon/w1/cmd")) as old:
        assert [old.receive()[0], old.receive()[0]] == [0x20, 0x90]
        with RawClient(broker.port, connect_packet("w1")) as new, client(broker.port, "research") as operator:
            assert new.receive()[1][1] == ACCEPTED
            assert old.is_closed()
            assert broker.counters.connections == 2
            operator.publish("gpumon/w1/cmd", "for nobody")
            new.send(b"\xc0\0")
            assert new.receive()[0] == 0xD0


@pytest.mark.parametrize("clean", [True, False])
def test_a_session_ends_with_its_connection(broker: RunningBroker, *, clean: bool) -> None:
    connect = bytearray(connect_packet("w1"))
    connect[9] = 0xC2 if clean else 0xC0
    with RawClient(broker.port, bytes(connect), subscribe_packet("gpumon/w1/cmd", 1)) as first:
        assert [first.receive()[0], first.receive()[0]] == [0x20, 0x90]
    eventually(lambda: broker.counters.connections == 0)
    with client(broker.port, "research") as operator, RawClient(broker.port, bytes(connect)) as second:
        assert second.receive() == (0x20, b"\0\0")  # no session present
        operator.publish("gpumon/w1/cmd", "for nobody")
        second.send(b"\xc0\0")
        assert second.receive()[0] == 0xD0


def test_the_will_of_a_client_that_dies_is_published_and_that_of_one_that_leaves_is_not(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader:
        reader.subscribe(STATUS, 1)
        with RawClient(broker.port, _will_connect("w1", STATUS, b"died", retain=True)) as dying:
            dying.receive()
        assert reader.get() == Received(STATUS, b"died", 1, retained=False)
        with client(broker.port, "w1", will=(STATUS, b"left", 1, True)):
            pass
        eventually(lambda: broker.counters.connections == 1)
        reader.subscribe("gpumon/+/status", 1)
        assert reader.get() == Received(STATUS, b"died", 1, retained=True)


def test_a_client_that_is_silent_for_one_and_a_half_keepalives_is_dead(broker: RunningBroker) -> None:
    with client(broker.port, "eye") as reader:
        reader.subscribe(STATUS, 1)
        connect = _will_connect("w1", STATUS, b"offline", keepalive_s=1)
        with RawClient(broker.port, connect) as silent, client(broker.port, "w2", keepalive_s=1):
            began = time.monotonic()
            silent.receive()
            assert reader.get().payload == b"offline"
            assert 1.4 < time.monotonic() - began < 5
            assert silent.is_closed()
            assert broker.counters.connections == 2  # the one that pings is alive


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("w1", "gpumon/w2/status"),
        ("eye", "gpumon/w1/cmd"),
        ("research", "gpumon/w1/status"),
        ("root", "gpumon/+/status"),
    ],
)
def test_a_will_that_may_not_be_published_is_dropped_and_counted(broker: RunningBroker, user: str, topic: str) -> None:
    with client(broker.port, "master") as reader:
        reader.subscribe("gpumon/#", 1)
        with RawClient(broker.port, _will_connect(user, topic, b"boo")) as dying:
            assert dying.receive()[1][1] == ACCEPTED
        eventually(lambda: broker.counters.refused_publishes == 1)
        assert not reader.seen()


@pytest.mark.parametrize("level", [3, 5])
def test_other_protocol_versions_are_refused_with_one_clear_line(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert _answer_to(broker.port, connect_packet("w1", level=level)) == WRONG_VERSION
    lines = [record.getMessage() for record in caplog.records if "MQTT" in record.getMessage()]
    assert lines == [f"127.0.0.1 speaks MQTT protocol level {level}; use MQTT 3.1.1 (level 4)"]


def test_messages_go_on_while_passwords_are_checked() -> None:
    release = threading.Event()

    class Slow(FakeDirectory):
        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            if username == "w2":
                release.wait(10)
            return super().authenticate_quickly(username, password)

    with running_broker(Slow()) as broker, client(broker.port, "eye") as reader, client(broker.port, "w1") as worker:
        reader.subscribe("gpumon/#")
        with RawClient(broker.port, connect_packet("w2", client_id="slow")) as waiting:
            worker.publish("gpumon/w1/event", "meanwhile")
            assert reader.get().payload == b"meanwhile"
            release.set()
            assert waiting.receive()[1][1] == ACCEPTED


def test_accounts_that_cannot_be_asked_refuse_for_now_and_hurt_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeDirectory):
        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            if username == "w2":
                raise OSError("the disk is gone")
            return super().authenticate_quickly(username, password)

    with running_broker(Broken()) as broker, client(broker.port, "eye") as reader:
        assert _answer_to(broker.port, connect_packet("w2")) == UNAVAILABLE
        assert reader.subscribe("gpumon/#") == 0
    assert "the accounts cannot be asked" in caplog.text


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x30\x05\0\3a/b",
        b"\x10\x00",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x10\x04\0\4MQ",
        b"\x00\x00",
    ],
)
def test_what_is_no_connect_is_closed(broker: RunningBroker, nonsense: bytes) -> None:
    with RawClient(broker.port, nonsense) as raw:
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.is_closed()
    assert broker.counters.connections == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        connect_packet("w1"),
        packet(0x36, encoded("gpumon/w1/event") + b"\0\1x"),
        packet(0x32, encoded("gpumon/w1/event") + b"\0\0x"),
        packet(0x30, encoded("gpumon/+/event") + b"x"),
        packet(0x30, encoded(b"\xff\xfe") + b"x"),
        packet(0x30, b"\xff\xffgpumon"),
        packet(0x30, b""),
        packet(0x82, b"\0\1"),
        packet(0x82, b"\0\1" + encoded("gpumon/w1/cmd") + b"\3"),
        packet(0x82, b"\0"),
        packet(0x80, b"\0\1" + encoded("gpumon/w1/cmd") + b"\0"),
        packet(0xA2, b"\0\1"),
        packet(0x40, b"\0"),
        packet(0xF0, b""),
        b"\x30\xff\xff\xff\xff\x01",
    ],
)
def test_a_client_that_breaks_the_protocol_is_disconnected_and_hurts_nobody(
    shared_broker: RunningBroker, nonsense: bytes
) -> None:
    with client(shared_broker.port, "eye") as reader, client(shared_broker.port, "w1") as worker:
        reader.subscribe("gpumon/w1/event", 1)
        with RawClient(shared_broker.port, connect_packet("w2")) as raw:
            raw.receive()
            raw.send(nonsense)
            assert raw.is_closed()
        worker.publish("gpumon/w1/event", "fine")
        assert reader.get().payload == b"fine"
