"""Fixtures of the tests of alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.master.alerts.support import World, world


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[World]:
    """A desk with the built-in rules and one worker that is online."""
    with world(tmp_path / "data") as made:
        made.comes_online()
        yield made
