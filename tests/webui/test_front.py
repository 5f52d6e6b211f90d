"""The front door: what it lets through, what it answers itself, and that nobody holds up the others."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading

import pytest

from tests.support import eventually
from tests.webui.front_support import GET, LAST, OK, UPGRADE, UPGRADED, ask, echo, front, receive
from webui.front_connection import Peer
from webui.front_http import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_LINE_BYTES


def test_a_connection_is_kept_for_the_next_request_though_the_application_ends_its_own() -> None:
    with front() as running, running.connect() as client:
        kept = OK.replace(b"close", b"keep-alive")
        for _ in range(3):
            client.sendall(GET)
            assert sorted(receive(client, len(kept)).split(b"\r\n")) == sorted(kept.split(b"\r\n"))
        assert ask(client, LAST).endswith(b"ok")
        assert len(running.requests) == 4


def test_requests_sent_at_once_are_answered_one_after_the_other() -> None:
    with front() as running, running.connect() as client:
        received = ask(client, GET + GET + LAST)
        assert received.count(b"HTTP/1.1 200 OK") == 3
        assert all(request.count(b"GET /") == 1 for request in running.requests)


def test_a_request_is_handed_over_only_when_its_body_is_there(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with front(tls=tls[0]) as running:
        with tls[1].wrap_socket(running.connect(), server_hostname="127.0.0.1") as client:
            client.sendall(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n12345")
            assert running.get().startswith(b"HTTP/1.1 301")
            assert running.requests == []
            client.sendall(b"6789")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert running.requests[0].endswith(b"\r\n\r\n123456789")


def test_a_client_that_asks_whether_to_go_on_is_told_so_by_the_front() -> None:
    with front() as running, running.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert receive(client, 25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert b"Expect" not in running.requests[0]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"HELLO\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nA: %s\r\n\r\n" % (b"x" * MAX_HEAD_BYTES), 431),
        (b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * MAX_LINE_BYTES), 414),
    ],
)
def test_what_is_no_plain_request_is_answered_without_the_application(request_bytes: bytes, status: int) -> None:
    with front() as running, running.connect() as client:
        answer = ask(client, request_bytes)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert b"Connection: close" in answer
        assert running.requests == []
        assert running.get().endswith(b"ok")


def test_a_program_that_asks_the_api_for_too_much_is_told_as_of_any_other_problem() -> None:
    with front() as running, running.connect() as client:
        head, _, body = ask(client, b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 999999\r\n\r\n").partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head
        assert json.loads(body)["status"] == 413


def test_the_application_is_told_the_address_that_the_client_has() -> None:
    with front() as running, running.connect() as client:
        own = client.getsockname()
        ask(client, LAST.replace(b"Host: h", b"Host: h\r\nX-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7"))
        assert running.peers == [own]


@pytest.mark.parametrize("target", ["/", "/workers/w1?x=1&y=%20", "//evil.example/x"])
def test_plain_http_at_the_port_for_tls_is_answered_with_the_address_to_use(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], target: str
) -> None:
    with front(tls=tls[0]) as running, running.connect() as client:
        answer = ask(client, f"GET {target} HTTP/1.1\r\nHost: gpu.lab:5000\r\n\r\n".encode()).decode()
        assert answer.startswith("HTTP/1.1 301 ")
        assert f"Location: https://gpu.lab:5000{target}\r\n" in answer
        assert running.requests == []


@pytest.mark.parametrize("host", ["", "a b", "evil.example/", "user@evil.example", 'x"><script>', "a\x0bb"])
def test_an_odd_host_is_sent_nowhere(tls: tuple[ssl.SSLContext, ssl.SSLContext], host: str) -> None:
    with front(tls=tls[0]) as running, running.connect() as client:
        answer = ask(client, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Location" not in answer


def in_pieces(connection: socket.socket, _request: bytes, _peer: Peer) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    connection.sendall(b"0\r\n\r\n")


def test_an_answer_in_chunks_arrives_whole_and_keeps_the_connection() -> None:
    with front(in_pieces) as running, running.connect() as client:
        received = ask(client, GET + LAST)
        assert received.count(b"x" * 4096) == 200
        assert received.count(b"\r\n0\r\n\r\n") == 2


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200",
        b"",
    ],
)
def test_an_answer_that_breaks_off_ends_the_connection_so_that_the_client_sees_it(begun: bytes) -> None:
    with (
        front(lambda connection, _request, _peer: connection.sendall(begun)) as running,
        running.connect() as client,
    ):
        received = ask(client, GET)
        assert received.endswith(
            b"half" if b"half" in begun and b"4\r\n" not in begun else begun[-6:] if b"half" in begun else b""
        )
        assert len(running.requests) == 1


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
)
def test_an_answer_without_a_body_keeps_the_connection(head: bytes) -> None:
    with (
        front(lambda connection, _request, _peer: connection.sendall(head)) as running,
        running.connect() as client,
    ):
        assert ask(client, GET + LAST).count(head.split(b"\r\n")[0]) == 2


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_websocket_passes_both_ways_what_is_sent(tls: tuple[ssl.SSLContext, ssl.SSLContext], over_tls: bool) -> None:
    sent = os.urandom(3_000_000)
    with front(echo, tls=tls[0] if over_tls else None) as running:
        plain = running.connect()
        with tls[1].wrap_socket(plain, server_hostname="127.0.0.1") if over_tls else plain as client:
            client.sendall(UPGRADE + sent[:1000])
            assert receive(client, len(UPGRADED)) == UPGRADED
            sender = threading.Thread(target=client.sendall, args=(sent[1000:],))
            if over_tls:  # Python's TLS sockets are not made for a thread that reads while another writes
                assert receive(client, 1000) == sent[:1000]
                for start in range(1000, len(sent), 50_000):
                    piece = sent[start : start + 50_000]
                    client.sendall(piece)
                    assert receive(client, len(piece)) == piece
                return
            sender.start()
            assert receive(client, len(sent)) == sent
            sender.join()


def test_what_asks_for_an_upgrade_and_gets_none_is_closed_after_the_answer() -> None:
    with front() as running, running.connect() as client:
        assert ask(client, UPGRADE + b"anything").endswith(b"ok")


def test_when_either_end_of_a_websocket_goes_the_other_learns_of_it() -> None:
    ends: list[str] = []
    leave = threading.Event()

    def until_told(connection: socket.socket, request: bytes, _peer: Peer) -> None:
        connection.sendall(UPGRADED)
        if b"/stay" in request:
            leave.wait(10)
        else:
            ends.append(repr(connection.recv(100)))

    with front(until_told) as running:
        with running.connect() as client:
            client.sendall(UPGRADE)
            receive(client, len(UPGRADED))
        eventually(lambda: ends == ["b''"])
        with running.connect() as client:
            client.sendall(UPGRADE.replace(b"/ws", b"/stay"))
            receive(client, len(UPGRADED))
            leave.set()
            assert client.recv(100) == b""
