"""History of a whole master on a real broker."""

from __future__ import annotations

import time
from pathlib import Path

from gpumon.settings import Settings
from master.history.query import Answer, Question
from master.history.readings import GPU_READINGS
from master.master import Master
from tests.master.support import Publisher, gpu, running_master, sample
from tests.support import eventually

POWER = tuple(reading for reading in GPU_READINGS if reading.name == "power_w")


def ask(master: Master, span_s: float, points: int) -> Answer:
    """Ask for the power of the one card."""
    now = time.time()
    return master.history.ask(Question("w1", "GPU-0", POWER, now - span_s, now + 1, points))


def test_what_arrives_is_history_also_after_the_master_has_started_again(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher
) -> None:
    with running_master(tmp_path / "data", mosquitto_port) as master:
        publisher.publish("gpumon/w1/metrics", sample(1, gpus=[gpu(power_w=300.5)]))
        eventually(lambda: any(ask(master, 60, 500).series["power_w"].mean))
        assert ask(master, 60, 500).series["power_w"].mean == [300.5]
        assert master.history_problem is None
    with running_master(tmp_path / "data", mosquitto_port) as master:
        answer = ask(master, 600, 10)
    assert answer.source == "1min"
    assert [value for value in answer.series["power_w"].max if value is not None] == [300.5]


def test_a_retained_sample_is_no_history(tmp_path: Path, mosquitto_port: int, publisher: Publisher) -> None:
    publisher.publish("gpumon/w1/metrics", sample(1), retain=True)
    with running_master(tmp_path / "data", mosquitto_port, Settings()) as master:
        assert eventually(lambda: master.fleet.worker("w1"))
        assert master.history.cards("w1") == set()


def test_a_worker_that_is_removed_leaves_no_history(tmp_path: Path, mosquitto_port: int, publisher: Publisher) -> None:
    with running_master(tmp_path / "data", mosquitto_port) as master:
        publisher.publish("gpumon/w1/metrics", sample(1))
        assert eventually(lambda: master.history.cards("w1"))
        master.remove_worker("w1")
        assert master.history.cards("w1") == set()
