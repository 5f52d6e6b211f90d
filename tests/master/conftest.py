"""Fixtures of the master's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from master.account_directory import AccountDirectory
from master.accounts import Accounts
from master.master import Master
from master.prepare import prepare
from master.store.engine import Store
from tests.master.support import Publisher, running_master
from tests.postgres_server import PostgresServer
from tests.store_fixtures import store, writer

__all__ = ["store", "writer"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a database on both, what is marked `sqlite` on that alone."""
    if "data" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("sqlite") is not None
        metafunc.parametrize("data", ["sqlite"] if alone else ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path) -> DataFolder:
    """A prepared data folder, with the database that goes with it."""
    folder = DataFolder(tmp_path / "data")
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        folder = DataFolder(tmp_path / "data", server.address(server.new_database()))
    prepare(folder)
    return folder


@pytest.fixture
def accounts(store: Store) -> Iterator[Accounts]:
    """The accounts in that store."""
    opened = Accounts(store)
    yield opened
    opened.close()


@pytest.fixture
def directory(data: DataFolder) -> Iterator[AccountDirectory]:
    """Who may log in, as the broker asks it."""
    opened = AccountDirectory(data)
    yield opened
    opened.close()


@pytest.fixture
def master(data: DataFolder, mosquitto_port: int) -> Iterator[Master]:
    """A master connected to a real mosquitto."""
    with running_master(data, mosquitto_port) as running:
        yield running


@pytest.fixture
def publisher(mosquitto_port: int) -> Iterator[Publisher]:
    """A client of the same mosquitto."""
    client = Publisher(mosquitto_port)
    yield client
    client.stop()
