"""As much of HTTP/1.1 as the front needs: where a request ends, what kind it is, and how its answer goes on.

The application behind reads each request again, strictly, and gets one connection for each: nothing that is taken
apart differently there can become a second request (RFC 9112 sections 3 to 6 and 11.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from gpumon.errors import GpumonError
from webui.answers import PROBLEM_JSON, problem_json
from webui.guard import API

MAX_HEAD_BYTES = 16 * 1024
MAX_LINE_BYTES = 4094  # the application's limit
MAX_BODY_BYTES = 64 * 1024

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} ([\x21-\x7e]+) HTTP/1\.([01])\Z")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*\Z")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")


class RefusedRequestError(GpumonError):
    """A request that is answered without asking the application; `target` is empty where it cannot be told."""

    see = "api.md#problems"

    def __init__(self, status: HTTPStatus, why: str, target: bytes = b"") -> None:
        super().__init__(why)
        self.status = status
        self.target = target


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What was read up to the empty line; `raw` is what the application is given."""

    raw: bytes
    target: bytes
    host: str
    body_bytes: int
    keeps_alive: bool
    is_upgrade: bool
    expects_continue: bool
    wants_no_body: bool


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The head of the application's answer; `body_bytes` is None where the body's end is told otherwise."""

    raw: bytes
    is_upgrade: bool = False
    is_chunked: bool = False
    body_bytes: int | None = None
    keeps_alive: bool = False


def parse_request(head: bytes) -> RequestHead:
    """Take a request's head apart, with the empty line at its end. Raises RefusedRequestError."""
    first, *lines = head[:-4].split(b"\r\n")
    request_line = _REQUEST_LINE.match(first)
    if request_line is None:
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")
    if len(first) > MAX_LINE_BYTES:
        why = f"the address is too long: at most {MAX_LINE_BYTES} bytes are taken"
        raise RefusedRequestError(HTTPStatus.REQUEST_URI_TOO_LONG, why, request_line[1])
    kept = [first]
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = _HEADER_LINE.match(line)
        if header is None:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "a header line cannot be read")
        name = header[1].lower()
        headers.setdefault(name, []).append(header[2])
        if name != b"expect":  # answered by the front
            kept.append(line)
    if b"transfer-encoding" in headers:
        raise RefusedRequestError(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
    target, is_newest = request_line[1], request_line[2] == b"1"
    connection = _tokens(headers, b"connection")
    return RequestHead(
        raw=b"\r\n".join(kept) + b"\r\n\r\n",
        target=target,
        host=b"".join(headers.get(b"host", [])).decode("latin-1"),
        body_bytes=_body_bytes(headers.get(b"content-length", []), target),
        keeps_alive=is_newest and b"close" not in connection,
        is_upgrade=b"upgrade" in connection and b"websocket" in _tokens(headers, b"upgrade"),
        expects_continue=is_newest and b"100-continue" in _tokens(headers, b"expect"),
        wants_no_body=first.startswith(b"HEAD "),
    )


def parse_answer(head: bytes, request: RequestHead) -> AnswerHead:
    """Take the head of the application's answer apart, and make it say whether the connection stays open.

    The application closes its own connection after each answer; the client's stays open where both sides can tell
    where the answer ends.
    """
    first, *lines = head[:-4].split(b"\r\n")
    status = int(first.split(b" ", 2)[1])
    headers: dict[bytes, list[bytes]] = {}
    kept = [first]
    for line in lines:
        name, _, value = line.partition(b":")
        headers.setdefault(name.lower(), []).append(value.strip())
        if name.lower() not in (b"connection", b"server"):
            kept.append(line)
    if status == HTTPStatus.SWITCHING_PROTOCOLS and request.is_upgrade:
        return AnswerHead(head, is_upgrade=True)
    is_chunked = b"chunked" in _tokens(headers, b"transfer-encoding")
    body_bytes: int | None = None
    if request.wants_no_body or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        body_bytes, is_chunked = 0, False
    elif not is_chunked and b"content-length" in headers:
        body_bytes = int(headers[b"content-length"][0])
    keeps_alive = request.keeps_alive and not request.is_upgrade and (is_chunked or body_bytes is not None)
    kept.append(b"Connection: " + (b"keep-alive" if keeps_alive else b"close"))
    raw = b"\r\n".join(kept) + b"\r\n\r\n"
    return AnswerHead(raw, is_chunked=is_chunked, body_bytes=body_bytes, keeps_alive=keeps_alive)


def refusal(error: RefusedRequestError) -> bytes:
    """Return a whole answer, after which the connection ends: a line of text, or to the API's users a problem."""
    if error.target.startswith(API.encode()):
        return _closing_answer(error.status, problem_json(error.status, str(error)), PROBLEM_JSON)
    return _closing_answer(error.status, f"{error}\n".encode())


def redirect_to_https(request: RequestHead) -> bytes:
    """Return the answer to a browser that speaks plain HTTP to the port for TLS. Raises RefusedRequestError."""
    target = request.target.decode("ascii")
    if not _HOST.match(request.host) or not target.startswith("/"):
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "this port speaks HTTPS: use https:// in the address")
    address = f"https://{request.host}{target}"
    if urlsplit(address).netloc != request.host:
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "this port speaks HTTPS: use https:// in the address")
    text = f"this port speaks HTTPS: {address}\n".encode()
    return _closing_answer(HTTPStatus.MOVED_PERMANENTLY, text, more=f"Location: {address}\r\n")


def _closing_answer(status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8", more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
    ).encode() + body


def _tokens(headers: dict[bytes, list[bytes]], name: bytes) -> set[bytes]:
    return {token.strip().lower() for value in headers.get(name, []) for token in value.split(b",")}


def _body_bytes(values: list[bytes], target: bytes) -> int:
    if not values:
        return 0
    if len(values) > 1 or not values[0].isdigit() or len(values[0]) > 12:
        raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "the Content-Length cannot be read", target)
    size = int(values[0])
    if size > MAX_BODY_BYTES:
        why = f"at most {MAX_BODY_BYTES} bytes are taken"
        raise RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, target)
    return size
