"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mosquitto


@pytest.fixture
def mosquitto_port(tmp_path: Path) -> Iterator[int]:
    """The port of a real mosquitto that lives as long as the test."""
    with mosquitto(tmp_path) as port:
        yield port
