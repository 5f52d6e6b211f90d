"""Many pretended exporters in one process, each at its own path of one port: `python -m bench.peers.exporters --help`.

It prints one JSON object a line: `listening` with the port, then for each line `count` on its standard input how many
scrapes it has answered. It ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from typing import Any, cast

import uvloop

from bench.peers.exposition import Exporter

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Answers(asyncio.Protocol):
    """A connection of Prometheus: one GET after the other, without bodies."""

    def __init__(self, exporters: list[Exporter]) -> None:
        self._exporters = exporters
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer each request whose head is whole."""
        assert self._transport is not None
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._transport.write(answer(self._exporters, head.split(b" ", 2)[1]))


def answer(exporters: list[Exporter], path: bytes) -> bytes:
    """Return the answer to `GET /NUMBER/metrics`."""
    number = path.strip(b"/").partition(b"/")[0]
    if not number.isdigit() or int(number) >= len(exporters):
        return _NOT_FOUND
    text = exporters[int(number)].text()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    return head % len(text) + text


def _say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


async def _serve(exporters: list[Exporter]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(exporters), "127.0.0.1", 0, backlog=2048)
    ended = asyncio.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "count":
                _say("count", scrapes=sum(each.scrapes for each in exporters))
        loop.call_soon_threadsafe(ended.set)

    _say("listening", port=server.sockets[0].getsockname()[1], text_bytes=len(exporters[0].text()))
    exporters[0].scrapes = 0
    threading.Thread(target=listen, daemon=True).start()
    await ended.wait()
    server.close()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.exporters", description=__doc__)
    parser.add_argument("--exporters", type=int, default=1000)
    arguments = parser.parse_args()
    uvloop.install()
    asyncio.run(_serve([Exporter(number) for number in range(arguments.exporters)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
