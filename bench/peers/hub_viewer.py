"""Somebody who looks at gpu-hot's hub over its WebSocket, as its page does: `python -m bench.peers.hub_viewer URL`.

It notes how long after a node said something each message that shows it for the first time had arrived. It prints one
JSON object a line: `watching` after the first message, for each line `nodes` on its standard input how many are there
and how much text has come so far, then after the line `stop` `stopped`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SENT = "sent"  # what the pretended nodes add to `system`, which the hub passes on as it is


class HubViewer:
    """Reads messages, which come compressed as for a browser, and keeps what they were."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self.text_bytes = 0
        self.messages = 0
        self.nodes = 0
        self._last: dict[str, float] = {}

    def add(self, text: str, arrived: float) -> None:
        """Note a message."""
        self.messages += 1
        self.text_bytes += len(text)
        told: dict[str, Any] = msgspec.json.decode(text)
        self.nodes = told["cluster_stats"]["online_nodes"]
        for name, node in told["nodes"].items():
            sent = node["system"].get(SENT)
            if sent is not None and self._last.get(name) != sent:
                self._last[name] = sent
                self.samples.append((sent, arrived - sent))


def main() -> int:
    """Look until told to end."""
    viewer = HubViewer()
    with connect(sys.argv[1], max_size=None) as connection:

        def read() -> None:
            try:
                for text in connection:
                    viewer.add(str(text), time.time())
            except ConnectionClosed:
                return

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        while not viewer.messages and thread.is_alive():
            time.sleep(0.05)
        print(json.dumps({"event": "watching"}), flush=True)
        for line in sys.stdin:
            if line.strip() == "nodes":
                told = {"nodes": viewer.nodes, "text_bytes": viewer.text_bytes}
                print(json.dumps({"event": "nodes", **told}), flush=True)
            else:
                break
        print(json.dumps({"event": "stopped", "samples": viewer.samples}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
