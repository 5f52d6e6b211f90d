"""A page that runs: a real mosquitto, a real master, a real gunicorn, and people who may log in."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask
import pytest
import requests
import socketio
from playwright.sync_api import Browser, Page

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading
from gpumon.settings import Settings
from master.accounts import open_accounts
from master.master import Master
from tests.browser import chromium
from tests.support import free_port, mosquitto, stopping
from tests.webui.attack_target import Target, attacked
from tests.webui.browsing import logged_in
from tests.webui.front_support import server_and_client_tls
from tests.webui.running import PASSWORDS, ROLES, RunningPage
from tests.webui.worker_double import WorkerDouble
from webui.app import create_app

NUMBERS = itertools.count(1)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests of a file."""
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, page: RunningPage) -> Iterator[Page]:
    """An operator's page on a desk."""
    with logged_in(browser, page, "olaf") as opened:
        yield opened


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A page with everybody of the attack table before its door."""
    with attacked(tmp_path_factory.mktemp("attacked"), serving) as opened:
        yield opened


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context to serve with, and one to connect with."""
    return server_and_client_tls(tmp_path_factory.mktemp("tls"))
