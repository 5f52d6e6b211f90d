"""The fleet: what retained messages mean, what time alone changes, what is kept."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from gpumon.datafolder import DataFolder
from gpumon.messages import Event, Info, Metrics
from master.bus import EventBus
from master.events import WorkerChanged, WorkerRemoved
from master.fleet import Fleet, WorkerState
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer
from tests.master.support import info, sample

NOW = 1_766_500_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writer(store: Store) -> Iterator[Writer]:
    started = Writer(store)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def fleet(store: Store, writer: Writer, bus: EventBus, clock: Clock) -> Fleet:
    return Fleet(FleetStore(store, writer), bus, clock)


def take(fleet: Fleet, seq: int, at: float, received: float, *, retained: bool = False, worker_id: str = "w1") -> bool:
    payload = msgspec.json.encode(sample(seq, at))
    metrics = msgspec.json.decode(payload, type=Metrics)
    return fleet.take_sample(worker_id, metrics, payload, received, retained=retained)


def state(fleet: Fleet, now: float) -> WorkerState:
    worker = fleet.worker("w1")
    assert worker is not None
    return worker.state(now)


def test_a_retained_sample_of_a_dead_worker_is_shown_with_its_own_age(fleet: Fleet) -> None:
    take(fleet, 9, NOW - 3600, NOW, retained=True)
    worker = fleet.worker("w1")
    assert worker is not None
    assert worker.metrics is not None
    assert worker.last_seen == NOW - 3600
    assert worker.state(NOW) is WorkerState.OFFLINE


def test_a_retained_sample_from_a_clock_that_is_ahead_is_no_sign_of_life(fleet: Fleet) -> None:
    take(fleet, 9, NOW + 3600, NOW, retained=True)
    worker = fleet.worker("w1")
    assert worker is not None
    assert worker.last_seen is None
    assert worker.clock_offset_s is None
    assert worker.state(NOW) is WorkerState.OFFLINE


def test_a_retained_status_is_believed_and_is_no_sign_of_life(fleet: Fleet) -> None:
    take(fleet, 9, NOW - 3600, NOW, retained=True)
    fleet.take_status("w1", "online", NOW, retained=True)
    assert state(fleet, NOW) is WorkerState.OFFLINE
    take(fleet, 10, NOW, NOW)
    assert state(fleet, NOW) is WorkerState.ONLINE
    fleet.take_status("w1", "offline", NOW, retained=True)
    assert state(fleet, NOW) is WorkerState.OFFLINE


def test_a_retained_sample_does_not_replace_a_newer_one_nor_its_age(fleet: Fleet) -> None:
    assert take(fleet, 10, NOW, NOW)
    fleet.link_connected()
    assert not take(fleet, 10, NOW, NOW + 50, retained=True)
    assert not take(fleet, 9, NOW - 5, NOW + 50, retained=True)
    worker = fleet.worker("w1")
    assert worker is not None
    assert worker.last_seen == NOW


def test_after_a_new_connection_the_first_live_sample_is_believed(fleet: Fleet) -> None:
    take(fleet, 500, NOW + 3600, NOW)  # a wrong clock; its agent then starts again unseen, with a right one
    fleet.link_connected()
    assert take(fleet, 1, NOW + 60, NOW + 60)


def test_a_state_that_changes_with_time_alone_is_published_once(fleet: Fleet, bus: EventBus) -> None:
    take(fleet, 1, NOW, NOW)
    changed: list[WorkerChanged] = []
    bus.subscribe(WorkerChanged, changed.append)
    for passed, count in ((1, 0), (14, 0), (16, 1), (30, 1), (76, 2), (500, 2)):
        fleet.tick(NOW + passed)
        assert len(changed) == count, f"after {passed} s"


def test_workers_are_sorted_by_id(fleet: Fleet) -> None:
    for worker_id in ("w2", "w10", "a"):
        take(fleet, 1, NOW, NOW, worker_id=worker_id)
    assert [worker.id for worker in fleet.workers()] == ["a", "w10", "w2"]
    assert fleet.worker("nobody") is None
    assert fleet.events("nobody") == []


def test_a_fleet_comes_back_from_the_store_as_it_was(
    fleet: Fleet, store: Store, writer: Writer, bus: EventBus, clock: Clock
) -> None:
    event = Event(time=NOW, kind="xid", gpu="GPU-0", value=2**70, text="fallen off the bus")
    fleet.take_status("w1", "online", NOW, retained=False)
    fleet.take_info("w1", msgspec.convert(info(), Info), NOW, retained=False)
    take(fleet, 1, NOW, NOW)
    fleet.take_event("w1", event, NOW)
    fleet.save()
    assert writer.flush()
    clock.now = NOW + 3600
    later = Fleet(FleetStore(store, writer), bus, clock)
    later.load()
    before, after = fleet.worker("w1"), later.worker("w1")
    assert before is not None
    assert after is not None
    assert (after.status, after.info, after.metrics) == (before.status, before.info, before.metrics)
    assert (after.metrics_payload, after.last_seen) == (before.metrics_payload, NOW)
    assert after.state(NOW) is WorkerState.ONLINE
    assert after.state(clock.now) is WorkerState.OFFLINE
    assert [each for _, each in later.events("w1")] == [msgspec.structs.replace(event, value=2**63 - 1)]


def test_only_the_last_200_events_of_a_worker_stay_in_the_store(
    fleet: Fleet, store: Store, writer: Writer, bus: EventBus
) -> None:
    for number in range(250):
        fleet.take_event("w1", Event(time=float(number), kind="ecc", text="again"), NOW + number)
    assert writer.flush()
    FleetStore(store, writer).prune_events()
    assert writer.flush()
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*), min(time) FROM events").one() == (200, 50.0)
    again = Fleet(FleetStore(store, writer), bus)
    fleet.save()
    writer.flush()
    again.load()
    assert again.events("w1") == fleet.events("w1")


def test_a_forgotten_worker_is_gone_from_memory_and_store(
    fleet: Fleet, store: Store, writer: Writer, bus: EventBus
) -> None:
    removed: list[WorkerRemoved] = []
    bus.subscribe(WorkerRemoved, removed.append)
    take(fleet, 1, NOW, NOW)
    fleet.take_event("w1", Event(time=NOW, kind="ecc", text="again"), NOW)
    fleet.save()
    assert fleet.forget("w1")
    assert not fleet.forget("w1")
    assert writer.flush()
    assert removed == [WorkerRemoved("w1")]
    assert FleetStore(store, writer).load() == ([], {})


def test_a_stored_sample_that_cannot_be_read_any_more_does_not_hold_up_the_others(
    fleet: Fleet, store: Store, data: DataFolder
) -> None:
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO workers (id, last_seen, metrics) VALUES ('w1', 1, '{\"v\":')")
        connection.exec_driver_sql("INSERT INTO workers (id, status) VALUES ('w2', 'sleeping')")
    fleet.load()
    assert [(worker.id, worker.metrics, worker.status) for worker in fleet.workers()] == [
        ("w1", None, None),
        ("w2", None, None),
    ]
