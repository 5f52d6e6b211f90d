"""Fixtures of the tests with a foreign broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from master.foreign_access import ForeignAccess
from tests.foreign.support import Mosquitto, access_to, running_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto of this test's own."""
    with running_mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def access(broker: Mosquitto) -> Iterator[ForeignAccess]:
    """gpumon's way to its accounts."""
    with access_to(broker) as opened:
        yield opened
