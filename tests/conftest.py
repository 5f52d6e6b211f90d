"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer, postgres_server
from tests.support import mosquitto


@pytest.fixture
def mosquitto_port(tmp_path: Path) -> Iterator[int]:
    """The port of a real mosquitto that lives as long as the test."""
    with mosquitto(tmp_path) as port:
        yield port


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL; tests make databases of their own on it, and leave it running."""
    with postgres_server() as server:
        yield server
