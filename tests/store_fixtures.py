"""The store and its writer for tests, on the database of the `data` that their folder gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpumon.datafolder import DataFolder
from master.store.engine import Store
from master.store.writer import Row, Writer


@pytest.fixture
def store(data: DataFolder) -> Iterator[Store]:
    """An open store."""
    opened = Store(data)
    opened.start()
    yield opened
    opened.stop()


@pytest.fixture
def writer(store: Store) -> Iterator[Writer]:
    """A writer to that store that has started, and soon tries again."""
    started = Writer(store, retry_s=0.05)
    started.start()
    yield started
    started.stop()


def worker_row(worker_id: str, metrics: str = "{}") -> Row:
    """A row to write."""
    return {"id": worker_id, "status": "online", "last_seen": 1.0, "info": None, "metrics": metrics}
