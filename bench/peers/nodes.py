"""Many pretended nodes of gpu-hot in one process, each at a path of its own: `python -m bench.peers.nodes --help`.

A node says, once an interval and to whoever is connected, what a real one said (`--said`, one of its messages), under
its own name and with other readings each time. It prints one JSON line with the port, and ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.peers.hub_viewer import SENT


def message(said: dict[str, Any], node: int, source: random.Random) -> bytes:
    """Return what a node says now."""
    cards = {}
    for index, card in said["gpus"].items():
        moving = {
            "temperature": source.randint(31, 88),
            "utilization": source.randint(12, 99),
            "power_draw": source.randint(120, 699) + 0.5,
            "memory_used": float(source.randint(20_000, 80_000)),
        }
        cards[index] = card | moving | {"uuid": f"GPU-{node:08x}-0000-4000-8000-{int(index):012x}"}
    system = said["system"] | {SENT: time.time()}
    return msgspec.json.encode({**said, "node_name": f"load-{node:05d}", "gpus": cards, "system": system})


async def _serve(said: dict[str, Any], interval_s: float) -> None:
    async def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        node = int(connection.request.path.strip("/").partition("/")[0])
        source = random.Random(node)
        due = time.monotonic() + source.random() * interval_s
        try:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await connection.send(message(said, node, source).decode())
                due += interval_s
        except ConnectionClosed:
            return

    # compressed, as a node's own server does where it is asked to
    async with serve(tell, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"event": "listening", "port": port}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.nodes", description=__doc__)
    parser.add_argument("--said", type=Path, required=True, help="a message of a real node, as JSON")
    parser.add_argument("--interval", type=float, default=1.0)
    arguments = parser.parse_args()
    asyncio.run(_serve(json.loads(arguments.said.read_text()), arguments.interval))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
