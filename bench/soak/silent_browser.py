"""Somebody whose browser watches the fleet and reads nothing of it."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench.deployment import USER
from bench.viewer import log_in


@contextmanager
def silent_browser(port: int, page: str, password: str) -> Iterator[None]:
    """Open a WebSocket by hand, ask for the fleet (RFC 6455 section 5, Engine.IO 4), and read no more.

    Raises OSError: where the page does not answer.
    """
    session = log_in(page, USER, password)
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(
            (
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
                f"Cookie: {cookies}\r\n\r\n"
            ).encode()
        )
        raw.recv(16)
        for text in (b"40", b'42["watch","fleet"]'):
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(text))
            raw.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        yield
