"""Fixtures of the tests that are about PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from master.prepare import prepare
from master.store.engine import Store
from tests.postgres_server import PostgresServer, postgres_server


@pytest.fixture
def data(tmp_path: Path, postgres: PostgresServer) -> DataFolder:
    """A prepared data folder whose database is on the server."""
    folder = DataFolder(tmp_path / "data", postgres.address(postgres.new_database()))
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
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    with postgres_server() as server:
        yield server
