"""The page's front door: bytes that are nearly HTTP, alone and sent to a front that others use meanwhile."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

import h11
import pytest
from hypothesis import strategies as st

from tests.fuzz.fuzzing import fuzzed, mutated
from tests.webui.front_support import OK, RunningFront, front
from webui.front_http import RefusedRequestError, RequestHead, parse_request, redirect_to_https

lines = st.sampled_from(
    [
        *(b"Host: h", b"Host: evil@h", b"Host:", b"Content-Length: 0", b"Content-Length: 5", b"content-length:5"),
        *(b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 99999999", b"Content-Length : 5"),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked", b"X: \x00"),
        *(b"Expect: 100-continue", b"Connection: close", b"Connection: Upgrade, keep-alive", b"Upgrade: websocket"),
        *(b" folded", b"\tfolded", b"X: a\rTransfer-Encoding: chunked", b"X: a\nContent-Length: 5", b"X-\xff: y", b":"),
        b"X: GET / HTTP/1.1",
    ]
)
targets = st.sampled_from(
    [b"/", b"/login?next=/", b"*", b"http://evil/", b"//evil/", b"/\xff", b"/ ", b"/%00", b"a:b", b""]
)
first_lines = st.builds(
    b"%b %b HTTP/%b".__mod__,
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"HEAD", b"X", b"g e"]), targets, st.sampled_from([b"1.1", b"1.0", b"2"])
    ),
)
heads = st.builds(
    lambda first, more: b"\r\n".join([first, *more]) + b"\r\n\r\n", first_lines, st.lists(lines, max_size=5)
)
bodies = st.sampled_from(
    [b"", b"hello", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"]
)
streams = st.builds(b"".join, st.lists(st.builds(bytes.__add__, heads, bodies), min_size=1, max_size=3))


def _parsed(head: bytes) -> RequestHead | None:
    try:
        return parse_request(head)
    except RefusedRequestError:
        return None


@fuzzed("http heads", weight=10, head=st.one_of(heads, mutated(heads), st.binary(max_size=80)))
def test_a_head_is_taken_apart_or_refused_and_goes_on_as_one_request(head: bytes) -> None:
    head = head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    request = _parsed(head)
    if request is None:
        return
    assert request.raw.count(b"\r\n\r\n") == 1
    assert request.raw.endswith(b"\r\n\r\n")
    assert b"\n" not in request.raw.replace(b"\r\n", b"")
    assert b"\r" not in request.raw.replace(b"\r\n", b"")
    assert b"\0" not in request.raw
    assert b"\ntransfer-encoding" not in request.raw.lower()
    assert request.raw.lower().count(b"\ncontent-length:") <= 1
    with contextlib.suppress(RefusedRequestError):
        answer = redirect_to_https(request)
        assert answer.count(b"\r\nLocation: https://") == 1
        assert answer.partition(b"\r\n\r\n")[0].count(b"\r\n") <= 5


@pytest.fixture(scope="module")
def running() -> Iterator[RunningFront]:
    """A front with an application behind it that keeps what it is handed."""
    with front() as found:
        yield found


@fuzzed("front", weight=3, stream=st.one_of(streams, mutated(streams), st.binary(max_size=100)))
def test_a_front_survives_anything_and_hands_over_single_whole_requests(
    running: RunningFront, caplog: pytest.LogCaptureFixture, stream: bytes
) -> None:
    running.requests.clear()
    with caplog.at_level(logging.ERROR), running.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(stream)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass
    handed = list(running.requests)
    assert running.get().endswith(OK.partition(b"\r\n\r\n")[2])
    assert not caplog.records, caplog.records[0].getMessage()
    for request in handed:
        _is_single(request)


def _is_single(request: bytes) -> None:
    """Read what was handed over with another library: it is one request to the end, or cut off, or none."""
    other = h11.Connection(h11.SERVER)
    try:
        other.receive_data(request)
        events = [other.next_event()]
        while not isinstance(events[-1], h11.EndOfMessage) and events[-1] is not h11.NEED_DATA:
            events.append(other.next_event())
    except h11.RemoteProtocolError:
        return
    assert other.trailing_data[0] == b""
    assert sum(isinstance(event, h11.Request) for event in events) == 1
