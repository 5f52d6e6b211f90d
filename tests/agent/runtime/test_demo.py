"""The demonstration fleet, with a real mosquitto."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.demo import demo_worker_ids, run_demo
from gpumon.settings import AgentSettings, MqttSettings, Settings
from tests.agent.runtime.support import Observer
from tests.support import eventually

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def fleet(mosquitto_port: int, tmp_path: Path) -> Iterator[Observer]:
    settings = Settings(
        data=str(tmp_path / "data"), mqtt=MqttSettings(port=mosquitto_port), agent=AgentSettings(interval_s=0.5)
    )
    stop = threading.Event()
    tokens = dict.fromkeys(demo_worker_ids(12), "token")
    thread = threading.Thread(target=run_demo, args=(settings, tokens, stop))
    with Observer(mosquitto_port, "demo-gpu-05") as observer:
        thread.start()
        yield observer
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_twelve_workers_are_online_and_marked_as_simulated(fleet: Observer) -> None:
    def heard(channel: str) -> dict[str, bytes]:
        return {message.topic: message.payload for message in list(fleet.messages) if message.topic.endswith(channel)}

    eventually(lambda: len(heard("/status")) == len(heard("/metrics")) == len(heard("/info")) == 12)
    assert set(heard("/status").values()) == {b"online"}
    assert all(b'"source":"simulated"' in payload for payload in (heard("/metrics") | heard("/info")).values())


def test_nvidia_smi_shows_the_simulated_cards(fleet: Observer) -> None:
    gpus = eventually(fleet.metrics)[0].gpus
    listed = fleet.run("nvidia-smi -L", "list").output
    assert all(gpu.uuid in listed and str(gpu.name) in listed for gpu in gpus)
    assert all(device.uuid in listed for gpu in gpus for device in gpu.mig_devices)
    table = fleet.run("nvidia-smi", "table").output
    assert "simulated" in table
    assert len({len(line) for line in table.splitlines()}) == 1
    assert fleet.run("nvidia-smi --query-gpu=x", "other").exit_code == 2


def test_commands_run_for_real_and_know_that_the_worker_is_simulated(fleet: Observer) -> None:
    eventually(fleet.statuses)
    assert fleet.run("echo $GPUMON_SIMULATED; echo $((6*7))", "c").output == "1\n42\n"
