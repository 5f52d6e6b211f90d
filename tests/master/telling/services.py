"""Services that people are told by, as they are on good and on bad days: real servers on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Mood = Literal["well", "hangs", "drips", "drips headers"] | int  # a number is the status that it answers


@dataclass(slots=True)
class Post:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """Its JSON."""
        return dict(json.loads(self.body))


@dataclass(slots=True)
class HttpService:
    """An HTTP server; `mood` says how it answers, `posts` holds what came."""

    port: int
    mood: Mood = "well"
    posts: list[Post] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def http_service(mood: Mood = "well") -> Iterator[HttpService]:
    """Run an HTTP server."""
    service = HttpService(0, mood)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.posts.append(Post(self.path, dict(self.headers), body))
            self.answer(service.mood)

        def answer(self, present: Mood) -> None:
            if present == "hangs":
                service.closing.wait(60)
                return
            if present in ("drips", "drips headers"):
                # A byte each half second: no timeout between two bytes ever passes.
                head = (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                    if present == "drips"
                    else b"HTTP/1.1 200 OK\r\nX-"
                )
                with contextlib.suppress(OSError):
                    self.wfile.write(head)
                    while not service.closing.wait(0.5):
                        self.wfile.write(b"x")
                return
            self.send_response(present if isinstance(present, int) else 200)
            if isinstance(present, int) and 300 <= present < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_arguments: Any) -> None:
            pass  # whoever was killed while it read the answer

    server = Server(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass(slots=True)
class SmtpService:
    """A mail server; `mails` holds what it was given."""

    port: int
    mails: list[str] = field(default_factory=list)


@contextlib.contextmanager
def smtp_service() -> Iterator[SmtpService]:
    """Run a mail server that takes everything (RFC 5321, the least of it)."""
    service = SmtpService(0)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 mail.example.org")
            for line in self.rfile:
                word = line.decode().strip().upper()
                if word.startswith("QUIT"):
                    self.say("221 bye")
                    return
                if word == "DATA":
                    self.say("354 go on")
                    service.mails.append(self.mail())
                self.say("250 good")

        def mail(self) -> str:
            lines = []
            for line in self.rfile:
                if line == b".\r\n":
                    break
                lines.append(line.decode())
            return "".join(lines)

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        service.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield service
        finally:
            server.shutdown()


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port on which connections are accepted by the kernel and nobody ever says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])
