"""A page that runs: a real mosquitto, a real master, a real gunicorn, and people who may log in."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import pytest
import requests
import socketio

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading
from gpumon.roles import Role
from gpumon.settings import Settings
from master.accounts import open_accounts
from master.master import Master
from tests.support import accepts_connections, eventually, free_port, mosquitto, stopping
from tests.webui.worker_double import WorkerDouble
from webui.app import create_app

NUMBERS = itertools.count(1)
PASSWORDS = {"alice": "correct horse alice", "olaf": "correct horse olaf", "vera": "correct horse vera"}
ROLES = {"alice": Role.ADMIN, "olaf": Role.OPERATOR, "vera": Role.VIEWER}


@dataclass(slots=True)
class RunningPage:
    """A page that serves, and what it stands on."""

    data: Path
    port: int
    mqtt_port: int
    threads: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    sessions: dict[str, requests.Session] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; returns when it answers."""
        arguments = [str(self.data), str(self.port), str(self.mqtt_port), str(self.threads)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.webui.serve_page", *arguments], stdout=log, stderr=log
            )
        eventually(lambda: self.process and self.process.poll() is None and accepts_connections(self.port))
        eventually(self._is_connected)

    def stop(self) -> float:
        """Stop serving; return how long that took, in seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(20)
        self.process = None
        return time.monotonic() - began

    def session(self, name: str) -> requests.Session:
        """Return a session in which this person is logged in; the same for a person each time."""
        if name not in self.sessions:
            self.sessions[name] = self._log_in(name)
        return self.sessions[name]

    def _log_in(self, name: str) -> requests.Session:
        session = requests.Session()
        token = form_token(session, f"{self.address}/login")
        answer = session.post(
            f"{self.address}/login", data={"csrf": token, "name": name, "password": PASSWORDS[name]}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return session

    def _is_connected(self) -> bool:
        return bool(requests.get(f"{self.address}/healthz", timeout=10).json()["broker"] == "connected")


def form_token(session: requests.Session, address: str) -> str:
    """Return the token of the form at this address."""
    text = session.get(address, timeout=10).text
    return text.split('name="csrf" value="')[1].split('"')[0]


class LiveClient:
    """A browser's live connection, without the browser."""

    def __init__(self, page: RunningPage, session: requests.Session) -> None:
        self.events: list[tuple[str, Any]] = []
        self.client = socketio.Client(http_session=session, reconnection=False)
        self.client.on("*", lambda name, data=None: self.events.append((name, data)))
        self.client.connect(page.address, transports=["websocket"], wait_timeout=10)

    def watch(self, topic: object) -> Any:
        """Begin to watch; return how it is now."""
        return self.client.call("watch", topic, timeout=10)

    def ask(self, event: str, data: Any) -> Any:
        """Send something and return the answer."""
        return self.client.call(event, data, timeout=10)

    def knows(self, *workers: WorkerDouble) -> bool:
        """Tell whether the fleet view has a row for each of these, and begin to watch it."""
        ids = {row["id"] for row in self.watch("fleet")["rows"]}
        return all(worker.id in ids for worker in workers)

    def rows_of(self, worker: WorkerDouble) -> list[dict[str, Any]]:
        """Return the rows of a worker that were pushed."""
        return [row for change in self.of("fleet_changed") for row in change["rows"] if row["id"] == worker.id]

    def of(self, name: str) -> list[Any]:
        """Return what has arrived under this name."""
        return [data for event, data in list(self.events) if event == name]


def unstarted_app(folder: Path) -> flask.Flask:
    """Return the application over a master that was not started, to look at its tables."""
    settings = Settings()
    address = BrokerAddress("127.0.0.1", 1, tls=False)
    return create_app(Master(settings, DataFolder(folder), address, None), settings, "a key for tests")[0]


@contextmanager
def serving(folder: Path, mqtt_port: int, threads: int = 40) -> Iterator[RunningPage]:
    """Run a page until the block ends."""
    data = folder / "data"
    with open_accounts(DataFolder(data)) as accounts:
        for name, role in ROLES.items():
            accounts.add_user(name, role, PASSWORDS[name])
    page = RunningPage(data, free_port(), mqtt_port, threads, folder / "page.log")
    page.start()
    try:
        yield page
    finally:
        if page.process is not None:
            with stopping(page.process):
                pass


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPage]:
    """A page that all tests share; its workers have names of their own for each test."""
    folder = tmp_path_factory.mktemp("page")
    with mosquitto(folder) as mqtt_port, serving(folder, mqtt_port) as running:
        yield running


@pytest.fixture
def own_page(tmp_path: Path, mosquitto_port: int) -> Iterator[RunningPage]:
    """A page for one test, which may stop it or change its accounts."""
    with serving(tmp_path, mosquitto_port) as running:
        yield running


@pytest.fixture
def live(page: RunningPage) -> Iterator[Callable[[str], LiveClient]]:
    """Connect people to the page until the test ends."""
    opened: list[LiveClient] = []

    def connect(name: str) -> LiveClient:
        opened.append(LiveClient(page, page.session(name)))
        return opened[-1]

    yield connect
    for client in opened:
        client.client.disconnect()


@pytest.fixture
def worker(page: RunningPage) -> Iterator[Callable[..., WorkerDouble]]:
    """Make workers of the shared page, which leave when the test ends; a number is added to the name."""
    made: list[WorkerDouble] = []

    def make(name: str, gpus: list[GpuReading], **info: Any) -> WorkerDouble:
        made.append(WorkerDouble(page.mqtt_port, f"{name}-{next(NUMBERS)}", **info).start(gpus))
        return made[-1]

    yield make
    for double in made:
        double.stop()
