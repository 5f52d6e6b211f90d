"""Nobody holds up the others at the front door: slow, silent and greedy clients, and the end of it all."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.webui.front_support import GET, LAST, OK, UPGRADE, UPGRADED, RunningFront, ask, echo, front, receive
from webui.front_connection import Peer


@contextlib.contextmanager
def stuck_clients(running: RunningFront, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(count)]
        for client in clients:
            with contextlib.suppress(OSError):  # it may have had to give way already
                client.sendall(sent)
        yield clients


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET / HTTP/1.1\r\nA: ", b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf"],
    ids=["silent", "one byte", "half a head", "half a body"],
)
def test_slow_clients_cost_the_application_nothing_and_are_sent_away(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    for name in ("HEAD_TIMEOUT_S", "BODY_TIMEOUT_S"):
        monkeypatch.setattr(f"webui.front_connection.{name}", 1.0)
    with front() as running, stuck_clients(running, 100, sent) as clients:
        assert running.get().endswith(b"ok")
        assert len(running.requests) == 1
        for client in clients:
            assert client.recv(1) == b""


@pytest.mark.parametrize(
    "sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "one byte", "half a hello"]
)
def test_a_handshake_that_never_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch, tls: tuple[ssl.SSLContext, ssl.SSLContext], sent: bytes
) -> None:
    monkeypatch.setattr("webui.front_connection.HANDSHAKE_TIMEOUT_S", 1.0)
    with front(tls=tls[0]) as running, stuck_clients(running, 100, sent) as clients:
        with tls[1].wrap_socket(running.connect(), server_hostname="127.0.0.1") as other:
            assert ask(other, LAST).endswith(b"ok")
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""


def test_thousands_of_half_open_connections_give_way_to_those_that_ask() -> None:
    with front(most=200) as running, stuck_clients(running, 1500, b"GET / HT"):
        for _ in range(20):
            assert running.get().endswith(b"ok")


def test_connections_that_are_being_answered_give_way_to_nobody() -> None:
    go_on = threading.Event()

    def when_told(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
        go_on.wait(10)
        connection.sendall(OK)

    with front(when_told, most=10) as running, stuck_clients(running, 10, LAST) as clients:
        eventually(lambda: len(running.requests) == 10)
        with running.connect() as late, contextlib.suppress(ConnectionResetError):
            assert late.recv(1) == b""
        go_on.set()
        assert all(receive(client, 1000).endswith(b"ok") for client in clients)


def test_one_address_gets_its_share_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("webui.front._is_here", lambda _connection, peer: peer[0] == "127.0.0.1")
    with front(most_per_address=5) as running, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", running.port)
        many = [
            stack.enter_context(socket.create_connection(address, 10, source_address=("127.0.0.9", 0)))
            for _ in range(8)
        ]
        assert [client.recv(1) for client in many[5:]] == [b""] * 3
        many[0].sendall(LAST)
        assert receive(many[0], 1000).endswith(b"ok")
        assert running.get().endswith(b"ok")
        assert caplog.text.count("127.0.0.9 has 5 connections") == 1

        def asks_again() -> bool:
            with socket.create_connection(address, 10, source_address=("127.0.0.9", 0)) as again:
                return ask(again, LAST).endswith(b"ok")

        eventually(asks_again)


def test_a_websocket_that_is_not_read_holds_up_its_own_sender_alone() -> None:
    sent = 0
    is_over = threading.Event()

    def write_on(connection: socket.socket, request: bytes, _peer: Peer) -> None:
        nonlocal sent
        if b"/ws" not in request:
            connection.sendall(OK)
            return
        connection.sendall(UPGRADED)
        try:
            while sent < 100_000_000:
                sent += connection.send(b"x" * 65536)
        finally:
            is_over.set()

    def is_still() -> bool:
        before = sent
        time.sleep(0.2)
        return before == sent

    with front(write_on) as running:
        with running.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(UPGRADE)
            eventually(is_still)
            assert 0 < sent < 20_000_000
            assert running.get().endswith(b"ok")
        assert is_over.wait(10)


def test_an_answer_that_is_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.front_connection.READER_TIMEOUT_S", 0.5)
    given_up = threading.Event()

    def much(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1526):
                connection.sendall(b"x" * 65536)
        except OSError:
            given_up.set()

    with front(much) as running, running.connect() as client:
        client.sendall(GET)
        assert given_up.wait(10)


def test_nothing_is_left_of_connections_that_have_ended(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with front(echo, tls=tls[0]) as running:
        running.get()  # the loop opens some of its own with the first connection
        before = descriptors()
        for number in range(60):
            with running.connect() as plain, contextlib.suppress(ssl.SSLError, OSError):
                if number % 3 == 0:
                    plain.sendall(b"\x16\x03\x01broken")
                    continue
                with tls[1].wrap_socket(plain, server_hostname="127.0.0.1") as client:
                    client.sendall(UPGRADE if number % 3 == 1 else b"GET / HT")
                    if number % 3 == 1:
                        receive(client, len(UPGRADED))
        eventually(lambda: descriptors() <= before)
        assert not running.front._open


def test_a_stop_lets_answers_under_way_arrive_and_takes_nothing_new() -> None:
    drained = threading.Event()

    def slowly(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
        drained.wait(10)
        connection.sendall(OK)

    with front(slowly) as running, running.connect() as asking, running.connect() as idle:
        asking.sendall(LAST)
        eventually(lambda: running.requests)
        running.front.drain()
        assert idle.recv(1) == b""
        with running.connect() as late:  # the system still takes it, nobody accepts it
            late.sendall(GET)
            drained.set()
            assert receive(asking, 1000).endswith(b"ok")
            running.front.stop()
            assert len(running.requests) == 1
