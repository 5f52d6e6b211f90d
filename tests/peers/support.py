"""A fleet with several masters, each a process of its own, on real mosquitto, PostgreSQL and Redis of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from agent.demo import demo_worker_ids
from gpumon.cli.supervisor import gpumon_command
from gpumon.datafolder import DataFolder
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import environment_for
from tests.support import accepts_connections, eventually, free_port, program_or_skip, stopping

# Workers publish each second; the rest is for a busy machine.
FRESH_S = 4.0
ADMIN, PASSWORD = "ann", "the password of ann"


class RedisServer:
    """A Redis that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._program = program_or_skip("redis-server", "redis-server")
        self._process: subprocess.Popen[Any] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [
            self._program,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: accepts_connections(self.port))

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class MasterProcess:
    """A `gpumon master` with a data folder of its own."""

    name: str
    environment: Mapping[str, str]
    port: int
    data: DataFolder
    log: Path
    process: subprocess.Popen[bytes] | None = None
    flags: list[str] = field(default_factory=list)

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def instance(self) -> str:
        return (self.data.root / "instance").read_text().strip()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                gpumon_command("master", *self.flags),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def health(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = requests.get(f"{self.page}/healthz", timeout=2).json()
        except (requests.RequestException, OSError):
            return {}
        return answer

    def shares_with(self, masters: int) -> bool:
        """Tell whether it shares the fleet with so many others, and nothing is wrong."""
        assert self.process is None or self.process.poll() is None, self.said()
        health = self.health()
        return bool(health.get("masters") == {"online": masters + 1, "problem": None})

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """End its processes as a power cut would."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            with stopping(self.process):
                pass
            self.process = None

    def client(self) -> PageClient:
        return PageClient(self.page, ADMIN, PASSWORD)


@contextlib.contextmanager
def a_master(folder: Path, name: str, shared: Mapping[str, str]) -> Iterator[MasterProcess]:
    """Run a master of that name until the block ends; what it shares with others is in `shared`."""
    port = free_port()
    data = folder / name
    environment = environment_for(data, port, free_port(), {"GPUMON_PAGE_THREADS": "20", **shared})
    master = MasterProcess(name, environment, port, DataFolder(data), folder / f"{name}.log")
    master.start()
    try:
        yield master
    finally:
        master.stop()


@contextlib.contextmanager
def workers(folder: Path, environment: Mapping[str, str], count: int, interval_s: float = 1.0) -> Iterator[list[str]]:
    """Run simulated workers with the real agent's code until the block ends, and give their ids."""
    more = {"GPUMON_AGENT_INTERVAL_S": str(interval_s)}
    with (folder / "workers.log").open("ab") as log:
        process = subprocess.Popen(
            gpumon_command("demo-workers", "--count", str(count)),
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    with stopping(process):
        yield list(demo_worker_ids(count))


def stale(client: PageClient, worker_ids: list[str]) -> list[str]:
    """Return the workers that the page does not show with a sample of the last seconds."""
    rows = {row["id"]: row for row in client.workers()}
    now = time.time()
    return [
        name
        for name in worker_ids
        if rows.get(name) is None or rows[name]["state"] != "online" or now - rows[name]["last_seen"] > FRESH_S
    ]


def stay_current(pages: Sequence[PageClient], worker_ids: list[str], for_s: float) -> bool:
    """Tell whether all of these pages show all of these workers with fresh samples for so long."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        if any(stale(page, worker_ids) for page in pages):
            return False
        time.sleep(0.1)
    return True
