"""The bus."""

from __future__ import annotations

import logging

import pytest

from master.bus import EventBus
from master.events import WorkerChanged, WorkerRemoved


def test_a_handler_gets_events_of_its_type_alone() -> None:
    bus = EventBus()
    seen: list[object] = []
    bus.subscribe(WorkerChanged, seen.append)
    bus.publish(WorkerChanged("w1"))
    bus.publish(WorkerRemoved("w1"))
    assert seen == [WorkerChanged("w1")]


def test_a_handler_that_fails_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    seen: list[object] = []

    def failing(event: WorkerChanged) -> None:
        raise RuntimeError("a mistake")

    bus.subscribe(WorkerChanged, failing)
    bus.subscribe(WorkerChanged, seen.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(WorkerChanged("w1"))
        bus.publish(WorkerChanged("w2"))
    assert seen == [WorkerChanged("w1"), WorkerChanged("w2")]
    assert len(caplog.records) == 1


def test_a_handler_that_has_unsubscribed_is_left_alone() -> None:
    bus = EventBus()
    seen: list[object] = []
    bus.subscribe(WorkerChanged, seen.append)
    bus.unsubscribe(WorkerChanged, seen.append)
    bus.publish(WorkerChanged("w1"))
    assert seen == []
