"""Fixtures of the broker's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.broker.support import RunningBroker, running_broker


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    """A broker of this test's own."""
    with running_broker() as running:
        yield running


@pytest.fixture
def swift_broker() -> Iterator[RunningBroker]:
    """A broker of this test's own on which clients may publish as fast as they can."""
    with running_broker(max_messages_per_s=1e6, max_bytes_per_s=1e9) as running:
        yield running


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[RunningBroker]:
    """A broker for all tests of a file, for those that leave nothing behind."""
    with running_broker() as running:
        yield running
