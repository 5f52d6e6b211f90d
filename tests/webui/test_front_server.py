"""The front with gunicorn behind it, as a process: what the application is told, and that no slow client costs it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.support import accepts_connections, eventually, free_port, stopping

THREADS = 4


@contextlib.contextmanager
def served(scheme: str) -> Iterator[int]:
    """Serve until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "tests.webui.serve_environ", str(port), scheme, str(THREADS)]
    with stopping(subprocess.Popen(command)):
        eventually(lambda: accepts_connections(port))
        yield port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the application is."""
    with served("http") as port:
        yield port


FORGED = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=192.0.2.7;proto=https",
    "X-Real-Ip": "192.0.2.7",
}


def test_no_header_changes_the_address_or_the_scheme(port: int) -> None:
    told = requests.get(f"http://127.0.0.1:{port}/a%20b?c", headers=FORGED, timeout=10).json()
    assert (told["REMOTE_ADDR"], told["wsgi.url_scheme"], told["PATH_INFO"]) == ("127.0.0.1", "http", "/a b")
    assert told["SERVER_PORT"] == str(port)


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /x", "PATH_INFO: /admin", "REMOTE_ADDR: 192.0.2.7", "REMOTE_USER: a"])
def test_no_header_becomes_a_variable_of_the_server(port: int, header: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"GET /x HTTP/1.1\r\nHost: h\r\n{header}\r\nConnection: close\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    assert b" 400 " in answer.split(b"\r\n")[0] or (
        b'"REMOTE_ADDR": "127.0.0.1"' in answer and b'"SCRIPT_NAME": ""' in answer and b"admin" not in answer
    )


def test_a_line_of_the_proxy_protocol_is_no_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_before_a_proxy_the_scheme_is_what_browsers_use() -> None:
    with served("https") as port:
        headers = {"X-Forwarded-Proto": "http"}
        assert (
            requests.get(f"http://127.0.0.1:{port}/", headers=headers, timeout=10).json()["wsgi.url_scheme"] == "https"
        )


def test_a_body_arrives_whole_and_the_connection_is_kept(port: int) -> None:
    with requests.Session() as session:
        first = session.post(f"http://127.0.0.1:{port}/", data="x" * 60_000, timeout=10).json()
        second = session.get(f"http://127.0.0.1:{port}/", timeout=10).json()
    assert len(first["body"]) == 60_000
    assert first["REMOTE_PORT"] == second["REMOTE_PORT"]


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["a second request", "a body"],
)
def test_clients_that_stop_halfway_hold_no_thread(port: int, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(sent)
        for _ in range(3):
            assert requests.get(f"http://127.0.0.1:{port}/", timeout=3).status_code == 200
