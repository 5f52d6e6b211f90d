"""Fixtures of the tests that are about PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from master.prepare import prepare
from tests.postgres_server import PostgresServer, postgres_server
from tests.store_fixtures import store, writer

__all__ = ["store", "writer"]


@pytest.fixture
def data(tmp_path: Path, postgres: PostgresServer) -> DataFolder:
    """A prepared data folder whose database is on the server."""
    folder = DataFolder(tmp_path / "data", postgres.address(postgres.new_database()))
    prepare(folder)
    return folder


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    with postgres_server() as server:
        yield server
