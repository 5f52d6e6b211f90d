"""The MQTT link against a real mosquitto."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.address import BrokerAddress
from gpumon.link import Credentials, Delivery, InboundMessage, MqttLink, Will
from tests.support import accepts_connections, eventually, free_port, mosquitto, program_or_skip, stopping

pytestmark = pytest.mark.mosquitto


def _address(port: int) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", port, tls=False)


@contextlib.contextmanager
def _running(link: MqttLink) -> Iterator[MqttLink]:
    link.start()
    try:
        yield link
    finally:
        link.stop(1.0)


class Listener:
    """A second client that remembers what it is sent, retained or not."""

    def __init__(self, port: int, topic_filter: str) -> None:
        self.messages: list[InboundMessage] = []
        self.link = MqttLink(_address(port), f"listener-{topic_filter.strip('/#')}")
        self.link.subscribe(topic_filter, 1, self.messages.append)

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.topic == topic]


def test_credentials_do_not_show_the_password() -> None:
    credentials = Credentials("w1", "s3cret")
    assert "s3cret" not in f"{credentials!r} {credentials}"
    assert credentials == Credentials("w1", "s3cret") != Credentials("w1", "other")


def test_a_link_that_is_started_before_the_broker_connects_as_soon_as_there_is_one(tmp_path: Path) -> None:
    port = free_port()
    with _running(MqttLink(_address(port), "early")) as link:
        problem = eventually(lambda: link.problem if link.problem != "not connected yet" else None)
        assert problem == f"no connection to mqtt://127.0.0.1:{port}: no broker answers there: is it running?"
        assert not link.is_connected
        with mosquitto(tmp_path, port):
            assert link.wait_connected(10)
            assert link.problem is None


def test_after_the_broker_restarts_it_connects_and_subscribes_again(tmp_path: Path) -> None:
    port = free_port()
    connects: list[float] = []
    received: list[bytes] = []
    with mosquitto(tmp_path, port):
        link = MqttLink(_address(port), "steady")
        link.subscribe("t/#", 1, lambda message: received.append(message.payload))
        link.on_connected(lambda: connects.append(time.monotonic()))
        link.start()
        assert link.wait_connected(10)
    try:
        eventually(lambda: not link.is_connected)
        assert "lost" in str(link.problem)
        with mosquitto(tmp_path, port):
            eventually(lambda: len(connects) == 2)
            with _running(MqttLink(_address(port), "other")) as other:
                other.publish("t/1", b"after", qos=1)
                eventually(lambda: received == [b"after"])
    finally:
        link.stop(1.0)


def test_the_wait_between_attempts_grows_with_jitter(caplog: pytest.LogCaptureFixture) -> None:
    link = MqttLink(_address(free_port()), "patient")
    waits = []
    for _ in range(10):
        link._back_off()
        waits.append(link._client._reconnect_min_delay)
    assert all(2**n / 8 <= wait <= 2**n / 4 for n, wait in enumerate(waits[:7]))
    assert all(15.0 <= wait <= 30.0 for wait in waits[7:])


def test_messages_of_qos_1_wait_for_the_connection_and_arrive_in_order(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path, port):
        link = MqttLink(_address(port), "worker")
        link.start()
        assert link.wait_connected(10)
    eventually(lambda: not link.is_connected)
    deliveries = [link.deliver("q/1", str(n).encode()) for n in range(50)]
    assert not any(delivery.is_acknowledged or delivery.is_dropped for delivery in deliveries)
    assert not link.publish("q/1", b"a sample nobody waits for")
    try:
        with mosquitto(tmp_path, port):
            listener = Listener(port, "q/#")
            with _running(listener.link):
                eventually(lambda: listener.link.is_listening)
                eventually(lambda: len(listener.payloads("q/1")) >= 50, timeout_s=15)
                assert listener.payloads("q/1") == [str(n).encode() for n in range(50)]
                eventually(lambda: all(delivery.is_acknowledged for delivery in deliveries))
    finally:
        link.stop(1.0)


def test_messages_published_before_start_are_delivered(mosquitto_port: int) -> None:
    link = MqttLink(_address(mosquitto_port), "eager")
    delivery = link.deliver("e/1", b"first")
    with _running(link):
        assert delivery.wait(10)


def test_too_many_waiting_messages_are_told_of_and_harm_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpumon.link.MAX_QUEUED_MESSAGES", 3)
    with _running(MqttLink(_address(free_port()), "full")) as link:
        deliveries: list[Delivery] = [link.deliver("f", b"x") for _ in range(5)]
        assert [delivery.is_dropped for delivery in deliveries] == [False, False, False, True, True]
        assert not deliveries[-1].wait(0.01)
        assert not link.publish("f", b"x", qos=1)


_KILLED_CLIENT = """
import os, signal, sys
from gpumon.address import BrokerAddress
from gpumon.link import MqttLink, Will
link = MqttLink(BrokerAddress("127.0.0.1", int(sys.argv[1]), False), "doomed", will=Will("w/status", b"offline"))
link.start()
assert link.wait_connected(10)
link.publish("w/status", b"online", qos=1, retain=True)
assert link.flush(5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_will_is_published_when_the_process_is_killed(mosquitto_port: int) -> None:
    listener = Listener(mosquitto_port, "w/#")
    with _running(listener.link):
        eventually(lambda: listener.link.is_listening)
        ended = subprocess.run([sys.executable, "-c", _KILLED_CLIENT, str(mosquitto_port)], timeout=30, check=False)
        assert ended.returncode == -signal.SIGKILL
        eventually(lambda: listener.payloads("w/status") == [b"online", b"offline"])


def test_a_clean_stop_discards_the_will(mosquitto_port: int) -> None:
    listener = Listener(mosquitto_port, "w/#")
    with _running(listener.link):
        eventually(lambda: listener.link.is_listening)
        link = MqttLink(_address(mosquitto_port), "polite", will=Will("w/status", b"offline"))
        with _running(link):
            assert link.wait_connected(10)
            link.publish("w/status", b"last words", qos=1)
        listener.link.publish("w/end", b"", qos=1)  # whatever came before this has been delivered
        eventually(lambda: listener.payloads("w/end"))
        assert listener.payloads("w/status") == [b"last words"]
        assert not link.is_connected


def test_a_refused_login_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = program_or_skip("mosquitto", "mosquitto")
    passwords, port = tmp_path / "passwords", free_port()
    passwords.touch(mode=0o600)
    subprocess.run(
        [program_or_skip("mosquitto_passwd", "mosquitto"), "-b", str(passwords), "w1", "right"],
        check=True,
        capture_output=True,
    )
    passwords.chmod(0o644)
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\npassword_file {passwords}\nuser root\n")
    process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    with stopping(process), caplog.at_level(logging.INFO, "gpumon.link"):
        eventually(lambda: accepts_connections(port))
        with _running(MqttLink(_address(port), "stranger", Credentials("w1", "wrong"))) as link:
            eventually(lambda: "refused" in str(link.problem))
            assert not link.is_connected
            eventually(lambda: link._attempts >= 3)  # further attempts say nothing new
        lines = [record.getMessage() for record in caplog.records]
        assert lines == [
            f"the broker at mqtt://127.0.0.1:{port} refused the connection: user 'w1' or its token is not known there"
        ]
        with _running(MqttLink(_address(port), "known", Credentials("w1", "right"))) as link:
            assert link.wait_connected(10)


def test_a_refused_subscription_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, caplog.at_level(logging.WARNING, "gpumon.link"):
        link = MqttLink(_address(server.getsockname()[1]), "curious")
        link.subscribe("others/cmd", 1, lambda _message: None)
        with _running(link):
            broker, _ = server.accept()
            with broker:
                broker.recv(1024)
                broker.sendall(b"\x20\x02\x00\x00")  # CONNACK, accepted
                subscribe = broker.recv(1024)
                broker.sendall(b"\x90\x03" + subscribe[2:4] + b"\x80")  # SUBACK, failure
                eventually(lambda: "refused the subscription to others/cmd" in caplog.text)


def test_a_handler_that_fails_does_not_end_the_connection(
    mosquitto_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []

    def fragile(message: InboundMessage) -> None:
        received.append(message.payload)
        raise ValueError("cannot digest this")

    def fail() -> None:
        raise RuntimeError("nothing to say")

    link = MqttLink(_address(mosquitto_port), "fragile")
    link.subscribe("h/#", 1, fragile)
    link.on_connected(fail)
    with _running(link):
        assert link.wait_connected(10)
        link.publish("h/1", b"one", qos=1)
        link.publish("h/1", b"two", qos=1)
        eventually(lambda: received == [b"one", b"two"])
    assert "a message handler failed" in caplog.text


def test_a_subscription_made_while_connected_works_at_once_and_after_a_reconnect(tmp_path: Path) -> None:
    port, received = free_port(), []
    link = MqttLink(_address(port), "late")
    with mosquitto(tmp_path, port):
        link.start()
        assert link.wait_connected(10)
        link.subscribe("late/#", 1, lambda message: received.append(message.payload))
        link.publish("late/1", b"one", qos=1)
        eventually(lambda: received == [b"one"])
    eventually(lambda: not link.is_connected)
    try:
        with mosquitto(tmp_path, port):
            assert link.wait_connected(10)
            link.publish("late/1", b"two", qos=1)
            eventually(lambda: received == [b"one", b"two"])
    finally:
        link.stop(1.0)


def test_stopping_does_not_wait_for_an_address_that_never_answers() -> None:
    """A listener whose backlog is full leaves a connect unanswered, as a firewall that drops packets does."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        with contextlib.ExitStack() as held:
            for _ in range(3):
                filler = held.enter_context(socket.socket())
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", port))
            link = MqttLink(_address(port), "unheard")
            link.start()
            stopping_thread = threading.Thread(target=link.stop, args=(0.5,), daemon=True)
            stopping_thread.start()
            stopping_thread.join(5)
            assert not stopping_thread.is_alive()
