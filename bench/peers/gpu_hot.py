"""gpu-hot's hub, run from its own source at a pinned commit, over pretended nodes that say what a real one said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.children import Children, Helper, wait_until
from bench.deployment import answers, clean_environment, free_port
from bench.errors import BenchmarkError
from bench.gpus import standin_environment
from bench.peers import places

START_TIMEOUT_S = 60.0


class GpuHot:
    """A hub and its nodes. Constructing it does nothing."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.port = free_port()
        self.message_bytes = 0
        self._folder = folder
        self._children = children
        self._source = places.gpu_hot_source()
        requirements = (self._source / "requirements.txt").read_text().split()
        self._python = places.environment_of("gpu-hot", requirements) / "python"

    @property
    def page(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self, nodes: int, interval_s: float) -> dict[str, int]:
        """Start so many nodes and the hub; return the pids by name."""
        said = self._said_by_a_real_node()
        command = [sys.executable, "-m", "bench.peers.nodes", "--said", str(said), "--interval", str(interval_s)]
        pretended = Helper(self._children, "nodes", command)
        port = pretended.hear("listening", START_TIMEOUT_S)["port"]
        urls = ",".join(f"http://127.0.0.1:{port}/{node}" for node in range(nodes))
        hub = self._run("hub", self.port, clean_environment(GPU_HOT_MODE="hub", NODE_URLS=urls))
        return {"gpu-hot's hub": hub.pid, "pretended nodes": pretended.process.pid}

    def _said_by_a_real_node(self) -> Path:
        """Return a file with a message of a real node over the stand-in for NVML."""
        port = free_port()
        node = self._run("node", port, standin_environment(self._folder, self._children))
        try:
            with connect(f"ws://127.0.0.1:{port}/socket.io/", max_size=None) as connection:
                connection.recv(START_TIMEOUT_S)  # the first one lacks what takes two readings
                text = connection.recv(START_TIMEOUT_S)
        except (OSError, WebSocketException) as error:  # a TimeoutError is an OSError
            raise BenchmarkError(f"a node of gpu-hot says nothing: {error}") from None
        self._children.end(node)
        self.message_bytes = len(text)
        file = self._folder / "said.json"
        file.write_text(json.dumps(json.loads(text)))
        return file

    def _run(self, name: str, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start it as its own command does, apart from address and port, which that has no settings for."""
        command = [str(self._python), "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--app-dir", str(self._source), "--log-level", "info"]
        # its files are looked for where it is started
        process = self._children.start(name, ["env", "-C", str(self._source), *command], environment)
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), f"gpu-hot's {name} answers", START_TIMEOUT_S)
        return process
