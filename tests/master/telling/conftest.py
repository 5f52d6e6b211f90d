"""Fixtures of the tests of telling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from master.store.engine import Store
from tests.master.telling.support import TimedChannel


@pytest.fixture
def channel(store: Store) -> Iterator[TimedChannel]:
    """A channel that gathers for 10 s, under a clock that the test moves."""
    made = TimedChannel(store)
    yield made
    made.stop()
