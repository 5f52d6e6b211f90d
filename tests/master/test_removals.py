"""Workers that another process has removed while a master runs, or while none does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import master.removals
from gpumon.datafolder import DataFolder
from gpumon.topics import Topics
from master.accounts import open_accounts
from master.events import WorkerRemoved
from tests.master.support import Publisher, running_master, sample
from tests.support import eventually

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a removed worker for gone after a second."""
    monkeypatch.setattr(master.removals, "LINGER_S", 1.0)


def pending(folder: Path) -> list[str]:
    connection = sqlite3.connect(DataFolder(folder).database)
    rows = connection.execute("SELECT worker_id FROM removed_workers").fetchall()
    connection.close()
    return [row[0] for row in rows]


def retained(port: int) -> list[str]:
    """Return the topics of workers that have a retained message."""
    reader = Publisher(port)
    reader.hear("gpumon/#")
    reader.hear("homeassistant/#")
    reader.publish("gpumon/master/x/last", "the last one")
    eventually(lambda: any(payload == b"the last one" for _, payload in reader.received))
    reader.stop()
    return [topic for topic, _ in reader.received if not topic.startswith("gpumon/master/")]


def test_a_worker_removed_by_another_process_is_gone_at_once_with_what_the_broker_kept(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher, soon: None
) -> None:
    folder = tmp_path / "data"
    with running_master(folder, mosquitto_port) as running:
        gone: list[WorkerRemoved] = []
        running.bus.subscribe(WorkerRemoved, gone.append)
        for worker_id in ("w1", "w2"):
            running.accounts.add_worker(worker_id)
            publisher.publish(f"gpumon/{worker_id}/status", "online", retain=True)
            publisher.publish(f"gpumon/{worker_id}/metrics", sample(1), retain=True)
        eventually(lambda: len(running.fleet.workers()) == 2)
        with open_accounts(DataFolder(folder)) as accounts:
            accounts.remove_worker("w1")
        eventually(lambda: running.fleet.worker("w1") is None, 3)
        # What its connection, which is being closed, still says does not bring it back; nor does its will.
        publisher.publish("gpumon/w1/metrics", sample(2), retain=True)
        publisher.publish("gpumon/w1/status", "offline", retain=True)
        publisher.publish("gpumon/w2/metrics", sample(2), retain=True)
        eventually(lambda: (worker := running.fleet.worker("w2")) and worker.metrics and worker.metrics.seq == 2)
        assert running.fleet.worker("w1") is None
        assert gone == [WorkerRemoved("w1")]
        eventually(lambda: pending(folder) == [])
        assert sorted(retained(mosquitto_port)) == ["gpumon/w2/metrics", "gpumon/w2/status"]


def test_a_worker_removed_while_no_master_ran_is_gone_when_one_does(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher, soon: None
) -> None:
    folder = tmp_path / "data"
    with running_master(folder, mosquitto_port) as running:
        running.accounts.add_worker("w1")
        publisher.publish("gpumon/w1/status", "offline", retain=True)
        eventually(lambda: running.fleet.worker("w1"))
        assert running.flush()
    with open_accounts(DataFolder(folder)) as accounts:
        accounts.remove_worker("w1")
    with running_master(folder, mosquitto_port) as running:
        assert running.fleet.workers() == []
        eventually(lambda: pending(folder) == [])
        assert retained(mosquitto_port) == []
        assert running.fleet.workers() == []


def test_a_worker_that_is_added_again_at_once_is_heard(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher
) -> None:
    with running_master(tmp_path / "data", mosquitto_port) as running:
        running.accounts.add_worker("w1")
        publisher.publish("gpumon/w1/status", "online")
        eventually(lambda: running.fleet.worker("w1"))
        running.remove_worker("w1")
        assert running.fleet.worker("w1") is None
        running.accounts.add_worker("w1")

        def is_heard() -> bool:
            publisher.publish("gpumon/w1/status", "online")
            return running.fleet.worker("w1") is not None

        eventually(is_heard, interval_s=0.2)


def test_a_worker_without_an_account_is_removed_as_well_and_may_come_back(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher, soon: None
) -> None:
    with running_master(tmp_path / "data", mosquitto_port) as running:
        publisher.publish("gpumon/w1/status", "online", retain=True)
        eventually(lambda: running.fleet.worker("w1"))
        running.remove_worker("w1")
        assert running.fleet.worker("w1") is None
        eventually(lambda: pending(tmp_path / "data") == [])
        publisher.publish("gpumon/w1/status", "online", retain=True)
        eventually(lambda: running.fleet.worker("w1"))


def test_the_devices_that_a_removed_worker_has_announced_to_home_assistant_are_cleared(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher, soon: None
) -> None:
    topics = Topics()
    with running_master(tmp_path / "data", mosquitto_port) as running:
        for worker_id in ("w1", "w2"):
            running.accounts.add_worker(worker_id)
            publisher.publish(f"gpumon/{worker_id}/metrics", sample(1), retain=True)
        eventually(lambda: len(running.fleet.workers()) == 2)
        metrics = eventually(lambda: running.fleet.workers()[0].metrics)
        assert metrics is not None
        uuids = [gpu.uuid for gpu in metrics.gpus]
        assert uuids
        announced = [topics.discovery(worker, uuid) for worker in ("w1", "w2") for uuid in ("", *uuids)]
        for topic in announced:
            publisher.publish(topic, "{}", retain=True)
        eventually(lambda: set(announced) <= set(retained(mosquitto_port)))
        running.accounts.remove_worker("w1")
        eventually(lambda: running.fleet.worker("w1") is None)
        publisher.publish(topics.discovery("w1"), "{}", retain=True)  # the last words of a connection that is closed
        eventually(lambda: pending(tmp_path / "data") == [])
        assert sorted(retained(mosquitto_port)) == sorted(["gpumon/w2/metrics", *announced[len(uuids) + 1 :]])
