"""What goes from one master to another with a worker: nothing is lost, nothing counts twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from gpumon.messages import Event
from gpumon.settings import HistorySettings, UsageSettings
from master.bus import EventBus
from master.fleet import Fleet
from master.history.history import History
from master.keeping import keeps_all
from master.prepare import prepare
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer
from master.usage.store import UsageStore
from master.usage.usage import Usage
from tests.master.history_support import MIDNIGHT, HistoryRun
from tests.master.history_support import card as plain_card
from tests.master.usage.support import UsageRun, card, process
from tests.store_fixtures import store, writer

__all__ = ["store", "writer"]


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """A folder whose database stands for the one that masters share."""
    folder = DataFolder(tmp_path / "data")
    prepare(folder)
    return folder


@contextlib.contextmanager
def usage_of_a_master(store: Store, now: float) -> Iterator[UsageRun]:
    run = UsageRun(store, now, UsageSettings())
    kept = UsageStore(store, run.writer)
    run.usage = Usage(kept, run.bus, lambda _name: {}, UsageSettings(), lambda: run.now, is_shared=True)
    run.writer.start()
    run.usage.start()
    yield run
    run.usage.stop()
    run.writer.stop()


@contextlib.contextmanager
def history_of_a_master(store: Store, now: float) -> Iterator[HistoryRun]:
    settings = HistorySettings()
    run = HistoryRun(store, settings, now)
    run.history = History(store, run.writer, run.bus, settings, clock=lambda: run.now, elsewhere=lambda _question: None)
    run.writer.start()
    run.history.start()
    yield run
    run.history.stop()
    run.writer.stop()


def test_usage_of_an_hour_is_the_sum_of_what_each_keeper_has_seen_of_it(store: Store) -> None:
    mine = card(process("chen"))
    with usage_of_a_master(store, MIDNIGHT) as one, usage_of_a_master(store, MIDNIGHT) as two:
        one.usage.take_over(keeps_all)
        for name in ("w1", "w2"):
            one.tell(mine, worker=name)
        one.run(600, mine, worker="w1")
        one.usage.release(lambda name: name == "w1", is_late=False)
        assert one.writer.flush()
        two.now = one.now
        two.usage.take_over(lambda name: name == "w1")
        two.tell(mine, worker="w1")
        two.run(300, mine, worker="w1")
        # And back again, as after the second master's end.
        two.usage.release(keeps_all, is_late=False)
        assert two.writer.flush()
        one.now = two.now
        one.usage.take_over(lambda name: name == "w1")
        one.tell(mine, worker="w1")
        one.run(100, mine, worker="w1")
        one.settle()
        assert one.seconds(worker_id="w1") == two.seconds(worker_id="w1") == {"chen": 1000}


def test_who_notices_late_that_another_has_its_workers_writes_nothing_over_it(store: Store) -> None:
    mine = card(process("chen"))
    with usage_of_a_master(store, MIDNIGHT) as hung, usage_of_a_master(store, MIDNIGHT) as other:
        hung.usage.take_over(keeps_all)
        hung.tell(mine)
        hung.run(120, mine)
        hung.settle()
        hung.run(30, mine)  # nobody comes to write this
        other.now = hung.now
        other.usage.take_over(keeps_all)
        other.tell(mine)
        other.run(300, mine)
        other.settle()
        hung.usage.release(keeps_all, is_late=True)
        hung.usage.tick(other.now + 120)
        assert hung.writer.flush()
        assert other.seconds() == {"chen": 420}


def test_a_minute_holds_what_each_keeper_has_seen_of_it(store: Store) -> None:
    with history_of_a_master(store, MIDNIGHT) as one, history_of_a_master(store, MIDNIGHT) as two:
        for power_w in (100.0, 200.0):
            one.tell(plain_card(power_w))
            one.to(one.now + 5)
        one.history.release(keeps_all, is_late=False)
        assert one.writer.flush()
        assert one.history.raw_bytes == 0
        two.to(one.now)
        two.history.take_over(keeps_all)
        two.tell(plain_card(600.0))
        two.to(MIDNIGHT + 125)
        assert two.writer.flush()
        one.to(two.now)
        for run in (one, two):
            power = run.ask(120, "power_w", points=2).series["power_w"]
            assert (power.mean[0], power.min[0], power.max[0]) == (300.0, 100.0, 600.0)


def test_an_event_that_two_masters_write_is_kept_once_and_one_of_the_moment_between_them_is_not_lost(
    store: Store,
) -> None:
    event, between = (Event(time=1.0, kind="xid", text="off the bus", value=number) for number in (79, 31))
    writers = [Writer(store), Writer(store)]
    kept = [True, False]
    fleets = [
        Fleet(FleetStore(store, each), EventBus(), keeps=lambda _name, place=place: kept[place])  # type: ignore[misc]
        for place, each in enumerate(writers)
    ]
    for each in writers:
        each.start()
    for fleet in fleets:
        fleet.take_event("w1", event, time.time())
    kept[0] = False  # the keeper dies
    for fleet in fleets:
        fleet.take_event("w1", between, time.time())
    fleets[1].take_over(keeps_all)
    for each in writers:
        assert each.flush()
        each.stop()
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT value FROM events ORDER BY value").scalars().all()
    assert rows == [31, 79]
