"""Serves an application that tells what it was told: `python -m tests.webui.serve_environ PORT SCHEME THREADS`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from webui.server import serve

TOLD = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH", "SERVER_PORT")


class Environ:
    """What is served."""

    def start(self) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
        """Return the application."""
        return answer

    def close_connections(self) -> None:
        """There are none."""

    def stop(self) -> None:
        """There is nothing to stop."""


def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with the environment in JSON, and with the body."""
    told = {name: text for name, text in environ.items() if name in TOLD or name.startswith("HTTP_")}
    told["body"] = environ["wsgi.input"].read().decode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


if __name__ == "__main__":
    serve(Environ(), "127.0.0.1", int(sys.argv[1]), int(sys.argv[3]), scheme=sys.argv[2])
