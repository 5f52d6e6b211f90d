"""The master as a whole, on a real broker."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from gpumon.errors import StartError
from gpumon.settings import MasterSettings, Settings
from master.accounts import AccountError
from master.commands import CommandError
from master.events import BrokerLinkChanged, WorkerRemoved
from master.fleet import WorkerState
from master.master import Master
from tests.master.support import RESEARCH, Publisher, info, new_master, running_master, sample
from tests.support import eventually, free_port, mosquitto, stopping


def test_constructing_a_master_does_nothing(tmp_path: Path) -> None:
    master = new_master(tmp_path / "data", free_port())
    assert not (tmp_path / "data").exists()
    assert master.fleet.workers() == []
    assert master.link_problem == "the master is not running"
    master.stop()
    assert not (tmp_path / "data").exists()


def test_the_masters_status_is_online_while_it_runs_and_offline_after(tmp_path: Path, mosquitto_port: int) -> None:
    publisher = Publisher(mosquitto_port)
    publisher.hear("gpumon/master/+/status")
    with running_master(tmp_path / "data", mosquitto_port) as master:
        topic = f"gpumon/master/{master.instance}/status"
        eventually(lambda: publisher.received)
    eventually(lambda: publisher.received[-1] == (topic, b"offline"))
    assert publisher.received == [(topic, b"online"), (topic, b"offline")]
    with running_master(tmp_path / "data", mosquitto_port) as master:
        assert topic == f"gpumon/master/{master.instance}/status"
    publisher.stop()


def test_a_will_of_an_earlier_connection_that_comes_late_is_answered(master: Master, publisher: Publisher) -> None:
    topic = f"gpumon/master/{master.instance}/status"
    publisher.hear(topic)
    eventually(lambda: publisher.received == [(topic, b"online")])
    publisher.publish(topic, "offline", retain=True)
    eventually(lambda: publisher.received[1:] == [(topic, b"offline"), (topic, b"online")])


def test_a_restarted_master_shows_the_last_known_fleet_at_once_without_a_broker(
    tmp_path: Path, mosquitto_port: int
) -> None:
    publisher = Publisher(mosquitto_port)
    with running_master(tmp_path / "data", mosquitto_port) as master:
        publisher.publish("gpumon/w1/status", "online")
        publisher.publish("gpumon/w1/info", info())
        publisher.publish("gpumon/w1/metrics", sample(4))
        publisher.publish("gpumon/w1/event", {"time": 1, "kind": "xid", "value": 79, "text": "off the bus"})
        eventually(lambda: master.fleet.events("w1"))
        seen = master.fleet.workers()[0].last_seen
        assert seen is not None
    publisher.stop()
    again = new_master(tmp_path / "data", free_port())  # nobody answers there
    again.start()
    try:
        (worker,) = again.fleet.workers()
        assert worker.metrics is not None
        assert worker.info is not None
        assert (worker.metrics.seq, worker.info.hostname, worker.last_seen) == (4, "gpu1.lab", seen)
        assert worker.state(seen + 1) is WorkerState.ONLINE
        assert worker.state(seen + 3600) is WorkerState.OFFLINE
        assert [event.value for _, event in again.fleet.events("w1")] == [79]
        eventually(lambda: "no connection to mqtt://127.0.0.1" in (again.link_problem or ""))
    finally:
        again.stop()


def test_a_dead_worker_does_not_come_to_life_by_the_restart_of_the_master(tmp_path: Path, mosquitto_port: int) -> None:
    publisher = Publisher(mosquitto_port)
    publisher.publish("gpumon/w1/status", "online", retain=True)
    publisher.publish("gpumon/w1/metrics", sample(4, time.time() - 3600), retain=True)
    for _ in range(2):
        with running_master(tmp_path / "data", mosquitto_port) as master:
            eventually(lambda: (w := master.fleet.worker("w1")) and w.metrics and w.status)
            assert master.fleet.workers()[0].state(time.time()) is WorkerState.OFFLINE
    publisher.stop()


def test_the_latest_sample_is_saved_as_text_that_sqlite3_shows(tmp_path: Path, mosquitto_port: int) -> None:
    settings = Settings(master=MasterSettings(save_interval_s=1.0))
    publisher = Publisher(mosquitto_port)
    with running_master(tmp_path / "data", mosquitto_port, settings) as master:
        publisher.publish("gpumon/w1/metrics", sample(4))
        eventually(lambda: master.fleet.worker("w1"))
        reader = sqlite3.connect(DataFolder(tmp_path / "data").database)
        query = "SELECT json_extract(metrics, '$.gpus[0].power_w') FROM workers WHERE id = 'w1'"
        assert eventually(lambda: reader.execute(query).fetchall()) == [(612.4,)]
        reader.close()
    publisher.stop()


def test_a_broker_that_goes_and_comes_back_is_told_and_heard_again(tmp_path: Path) -> None:
    port = free_port()
    told: list[BrokerLinkChanged] = []
    with mosquitto(tmp_path, port):
        master = new_master(tmp_path / "data", port)
        master.bus.subscribe(BrokerLinkChanged, told.append)
        master.start()
        eventually(lambda: told == [BrokerLinkChanged(connected=True, problem=None)])
    try:
        eventually(lambda: len(told) >= 2)
        assert not told[1].connected
        assert told[1].problem
        with mosquitto(tmp_path, port):
            eventually(lambda: told[-1].connected, 20)
            publisher = Publisher(port)
            publisher.publish("gpumon/w1/metrics", sample(1))
            eventually(lambda: master.fleet.worker("w1"))
            publisher.stop()
    finally:
        master.stop()


def test_two_masters_on_one_folder_are_refused(master: Master, tmp_path: Path, mosquitto_port: int) -> None:
    second = new_master(tmp_path / "data", mosquitto_port)
    with pytest.raises(StartError, match="another master runs on"):
        second.start()
    second.stop()
    assert master.link_problem is None


def test_a_damaged_database_ends_the_start_and_frees_the_folder(tmp_path: Path, mosquitto_port: int) -> None:
    data = DataFolder(tmp_path / "data")
    with running_master(data.root, mosquitto_port):
        pass
    content = data.database.read_bytes()
    data.database.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(StartError, match="is damaged"):
        new_master(data.root, mosquitto_port).start()
    data.database.write_bytes(content)
    with running_master(data.root, mosquitto_port):
        pass


def test_a_removed_worker_is_gone_for_good(tmp_path: Path, mosquitto_port: int) -> None:
    publisher = Publisher(mosquitto_port)
    with running_master(tmp_path / "data", mosquitto_port) as master:
        removed: list[WorkerRemoved] = []
        master.bus.subscribe(WorkerRemoved, removed.append)
        master.accounts.add_worker("w1")
        publisher.publish("gpumon/w1/status", "offline", retain=True)
        publisher.publish("gpumon/w1/metrics", sample(1), retain=True)
        eventually(lambda: (w := master.fleet.worker("w1")) and w.metrics)
        assert master.flush()
        master.remove_worker("w1")
        assert removed == [WorkerRemoved("w1")]
        assert master.accounts.workers() == []
        with pytest.raises(AccountError, match="there is no worker 'w1'"):
            master.remove_worker("w1")
        with pytest.raises(CommandError, match="worker 'w1' is not known here"):
            master.commands.run("ls", ["w1"], RESEARCH)
    with running_master(tmp_path / "data", mosquitto_port) as master:
        publisher.publish("gpumon/w2/status", "online")
        eventually(lambda: master.fleet.worker("w2"))
        assert [worker.id for worker in master.fleet.workers()] == ["w2"]
    publisher.stop()


RUNNING_MASTER = """
import sys, time
from pathlib import Path
from tests.master.support import running_master
from gpumon.settings import MasterSettings, Settings

with running_master(Path(sys.argv[1]), int(sys.argv[2]), Settings(master=MasterSettings(save_interval_s=0.1))):
    print("running", flush=True)
    time.sleep(60)
"""


def test_a_killed_master_has_lost_nothing_that_it_had_stored(tmp_path: Path, mosquitto_port: int) -> None:
    data = DataFolder(tmp_path / "data")
    publisher = Publisher(mosquitto_port)
    publisher.hear("gpumon/master/+/status")
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNING_MASTER, str(data.root), str(mosquitto_port)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    with stopping(process):
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        publisher.publish("gpumon/w1/metrics", sample(4))
        publisher.publish("gpumon/w1/cmd/result", {"id": "c-1", "command": "ls", "state": "finished", "exit_code": 0})
        reader = sqlite3.connect(data.database)
        eventually(lambda: reader.execute("SELECT 1 FROM workers, commands WHERE ended > 0").fetchall())
        reader.close()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    eventually(lambda: publisher.received[-1][1] == b"offline")  # its will
    with running_master(data.root, mosquitto_port) as master:
        assert [worker.id for worker in master.fleet.workers()] == ["w1"]
        assert [record.id for record in master.commands.recent()] == ["c-1"]
    reader = sqlite3.connect(data.database)
    assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    reader.close()
    publisher.stop()
