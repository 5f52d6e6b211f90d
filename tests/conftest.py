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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, and all that have a browser: one Chromium at a time is enough for two cores.

    What takes longest begins first: a browser, and whole installations.
    """
    with_browser = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "browser" if item.path in with_browser else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: 0 if item.path in with_browser else 1 if "end_to_end" in item.path.parts else 2)
