"""The plug is pulled: each part is killed while it works, and the fleet is right again afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
import pytest
import requests
from paho.mqtt.enums import CallbackAPIVersion

from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import Running, an_agent, answers, gpumon_up
from tests.support import eventually


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A master without workers of its own."""
    with gpumon_up(tmp_path, more={"LD_LIBRARY_PATH": "/nonexistent"}) as started:
        yield started


@pytest.fixture
def page(running: Running) -> PageClient:
    """Somebody logged in on the page."""
    return PageClient(running.page, "admin", running.admin_password)


def child(running: Running, subcommand: str) -> psutil.Process:
    """Return the process in which a subcommand of this `gpumon up` runs."""
    children = psutil.Process(running.process.pid).children()
    return next(process for process in children if subcommand in process.cmdline())


def kill(running: Running, subcommand: str) -> None:
    """Kill a subcommand's process as a crash would, with the server it has forked."""
    parent = child(running, subcommand)
    for process in [parent, *parent.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)


def is_live(page: PageClient, worker_id: str) -> Callable[[], bool]:
    """Return a check that the worker is online and its sample not older than a few seconds."""
    return lambda: page.state(worker_id) == "online"


def test_a_killed_broker_is_started_again_and_everybody_comes_back(running: Running, page: PageClient) -> None:
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"):
        eventually(is_live(page, "w1"), 20)
        before = page.worker("w1")["last_seen"]
        kill(running, "broker")
        eventually(lambda: page.worker("w1")["last_seen"] > before + 3, 30)
        assert page.state("w1") == "online"
        assert running.gpumon("run", "-w", "w1", "--", "echo back").stdout == "back\n"


def test_a_killed_master_shows_the_last_known_fleet_at_once_and_goes_on(running: Running, page: PageClient) -> None:
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"):
        eventually(is_live(page, "w1"), 20)
    eventually(lambda: page.state("w1") == "offline", 20)
    gpus = page.worker("w1")["gpu_count"]
    with an_agent(running, "w2", "--source", "simulated", "--interval", "0.5"):
        eventually(is_live(page, "w2"), 20)
        eventually(lambda: stored(running, "w2"), 20)
        kill(running, "master")
        eventually(lambda: not answers(running))
        eventually(lambda: answers(running), 20)
        assert page.state("w1") == "offline"
        assert page.worker("w1")["gpu_count"] == gpus
        eventually(is_live(page, "w2"), 20)
    with closing(sqlite3.connect(running.data.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def stored(running: Running, worker_id: str) -> bool:
    """Tell whether the master has written a sample of this worker to its database."""
    with closing(sqlite3.connect(running.data.database)) as database:
        query = "SELECT count(*) FROM workers WHERE id = ? AND metrics IS NOT NULL"
        return bool(database.execute(query, (worker_id,)).fetchone()[0])


def test_a_killed_agent_is_shown_offline_and_comes_back_as_the_same(running: Running, page: PageClient) -> None:
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5") as agent:
        eventually(is_live(page, "w1"), 20)
        agent.send_signal(signal.SIGKILL)
        eventually(lambda: page.state("w1") == "offline", 20)
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"):
        eventually(is_live(page, "w1"), 20)
        assert [row["id"] for row in page.workers()] == ["w1"]


def test_a_command_cut_off_by_the_agents_death_ends_as_failed_and_is_not_run_again(
    running: Running, page: PageClient, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5") as agent:
        eventually(is_live(page, "w1"), 20)
        command_id = page.run("w1", f"echo x >> {marker}; sleep 60")
        eventually(marker.exists)
        agent.send_signal(signal.SIGKILL)
        agent.wait(10)
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"):
        target: Callable[[], Any] = lambda: page.command(command_id)["targets"][0]  # noqa: E731
        eventually(lambda: target()["state"] == "failed", 30)
        assert "agent" in target()["problem"]
    assert marker.read_text() == "x\n"


def test_ending_gpumon_takes_seconds_and_leaves_every_worker_offline_and_nothing_running(
    running: Running, page: PageClient
) -> None:
    with an_agent(running, "w1", "--source", "simulated"):
        eventually(is_live(page, "w1"), 20)
        family = psutil.Process(running.process.pid).children(recursive=True)
        running.process.terminate()
        assert running.process.wait(15) == 0
        assert not [process for process in family if process.is_running()]
        with pytest.raises(requests.ConnectionError):
            requests.get(running.page, timeout=2)


def test_garbage_from_a_worker_is_counted_and_told_and_harms_nobody(running: Running, page: PageClient) -> None:
    added = running.gpumon("worker", "add", "bad")
    assert added.returncode == 0
    token = running.data.token_file("bad").read_text().strip()
    with an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"):
        eventually(is_live(page, "w1"), 20)
        publish_garbage(running, "bad", token)
        eventually(lambda: "bad" in [row["id"] for row in page.workers()])
        eventually(lambda: any("payload" in problem for problem in page.worker("bad")["problems"]))
        before = page.worker("w1")["last_seen"]
        eventually(lambda: page.worker("w1")["last_seen"] > before)
    assert "Traceback" not in running.said()


def publish_garbage(running: Running, worker_id: str, token: str) -> None:
    """Publish everything that is no sample, as a worker that is let in."""
    good = {"v": 1, "time": 1.0, "seq": 1, "interval_s": 5.0, "source": "nvml", "gpus": []}
    garbage = [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b'{"time": NaN}',
        json.dumps({**good, "time": "now"}).encode(),
        json.dumps({**good, "gpus": [{"uuid": 3}]}).encode(),
        json.dumps({**good, "interval_s": 0}).encode(),
        json.dumps({**good, "seq": 10**40}).encode(),
        b"x" * 1_000_000,
        b"x" * 10_000_000,  # larger than the broker takes: it ends this connection
    ]
    for payload in garbage:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"garbage-{len(payload)}")
        client.username_pw_set(worker_id, token)
        client.connect("127.0.0.1", running.mqtt_port)
        client.loop_start()
        eventually(client.is_connected)
        info = client.publish(f"gpumon/{worker_id}/metrics", payload, qos=1)
        eventually(lambda info=info, client=client: info.is_published() or not client.is_connected(), 20)  # type: ignore[misc]
        client.disconnect()
        client.loop_stop()
