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


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """A prepared data folder."""
    folder = DataFolder(tmp_path / "data")
    prepare(folder)
    return folder


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    """An open store."""
    opened = Store(data)
    opened.start()
    yield opened
    opened.stop()


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
def master(tmp_path: Path, mosquitto_port: int) -> Iterator[Master]:
    """A master connected to a real mosquitto."""
    with running_master(tmp_path / "data", mosquitto_port) as running:
        yield running


@pytest.fixture
def publisher(mosquitto_port: int) -> Iterator[Publisher]:
    """A client of the same mosquitto."""
    client = Publisher(mosquitto_port)
    yield client
    client.stop()
