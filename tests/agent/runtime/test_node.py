"""A worker and its broker: status, inventory, samples, events."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from agent.journal import Journal
from agent.samplers.base import Inventory, Readings, SamplerError
from agent.samplers.simulated import SimulatedSampler
from agent.simulation.models import PROFILES
from gpumon.commands import Command, CommandResult
from gpumon.link import MqttLink
from gpumon.messages import Event, GpuReading, Info
from tests.agent.runtime.support import WORKER, Observer, make_node, running
from tests.support import eventually, free_port, mosquitto

pytestmark = pytest.mark.mosquitto


class FragileSampler(SimulatedSampler):
    """A simulated machine whose driver hangs, fails or loses a card when a test says so."""

    def __init__(self) -> None:
        super().__init__(WORKER, PROFILES[0])
        self.hang = threading.Event()
        self.error: Exception | None = None
        self.starts = 0
        self.missing = 0
        self.happened: list[Event] = []

    def start(self) -> None:
        self.starts += 1
        if self.error is not None:
            raise self.error

    def inventory(self) -> Inventory:
        found = super().inventory()
        return Inventory(found.gpus[: len(found.gpus) - self.missing], found.driver_version, found.cuda_version)

    def read(self) -> Readings:
        while self.hang.is_set():
            threading.Event().wait(0.01)
        if self.error is not None:
            raise self.error
        return Readings(super().read().gpus[: 8 - self.missing])

    def events(self) -> list[Event]:
        happened, self.happened = self.happened, []
        return happened


def test_on_connect_a_worker_says_that_it_is_online_and_what_it_has(mosquitto_port: int, tmp_path: Path) -> None:
    with running(make_node(mosquitto_port, tmp_path, labels={"rack": "3"})):
        with Observer(mosquitto_port) as first:
            info = eventually(first.infos)[0]
            eventually(lambda: first.statuses() == [b"online"] and first.metrics())
        with Observer(mosquitto_port) as later:
            eventually(lambda: later.statuses() == [b"online"] and later.infos() and later.metrics())
    retained = {message.topic for message in later.messages if message.retained}
    assert retained == {f"gpumon/{WORKER}/{channel}" for channel in ("status", "info", "metrics")}
    assert len(info.gpus) == 8
    assert (info.source, info.commands, info.labels, info.interval_s) == ("simulated", "any", {"rack": "3"}, 0.2)
    assert info.hostname
    assert info.memory_total_bytes


def test_samples_come_each_interval_numbered_without_a_gap(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path)):
        samples = eventually(lambda: observer.metrics() if len(observer.metrics()) >= 6 else [])
    assert [sample.seq for sample in samples] == list(range(samples[0].seq, samples[0].seq + len(samples)))
    assert all(len(sample.gpus) == 8 and sample.health == "ok" for sample in samples)


def test_the_first_sample_is_not_lost_though_it_is_taken_before_the_connection(
    mosquitto_port: int, tmp_path: Path
) -> None:
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path, interval_s=3600)):
        assert eventually(observer.metrics)[0].seq == 0


def test_a_clean_stop_says_offline_once_and_leaves_it_retained(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as observer:
        with running(make_node(mosquitto_port, tmp_path)):
            eventually(lambda: observer.statuses() == [b"online"])
        eventually(lambda: observer.statuses() == [b"online", b"offline"])
    with Observer(mosquitto_port) as later:
        eventually(lambda: later.statuses() == [b"offline"])


def test_an_offline_that_is_not_true_is_answered(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path)):
        eventually(lambda: observer.statuses() == [b"online"])
        observer.link.publish(f"gpumon/{WORKER}/status", b"offline", qos=1, retain=True)
        eventually(lambda: observer.statuses() == [b"online", b"offline", b"online"])


def test_after_a_restart_of_the_broker_everything_is_announced_again(tmp_path: Path) -> None:
    port = free_port()
    node = make_node(port, tmp_path)
    with mosquitto(tmp_path, port):
        node.start()
        assert node._link.wait_connected(10)
    try:
        with mosquitto(tmp_path, port), Observer(port) as observer:
            eventually(lambda: observer.statuses() and observer.infos() and observer.metrics())
            assert observer.run("echo again", "c").output == "again\n"
    finally:
        node.stop()


def test_a_result_of_a_command_that_ended_while_the_broker_was_away_arrives_later(tmp_path: Path) -> None:
    port, go = free_port(), tmp_path / "go"
    node = make_node(port, tmp_path)
    with mosquitto(tmp_path, port):
        node.start()
        assert node._link.wait_connected(10)
        with Observer(port) as observer:
            observer.send(
                {"id": "away", "command": f"while [ ! -e {go} ]; do sleep 0.02; done; echo x > {go}; echo done"}
            )
            eventually(lambda: node._runner._running)
    eventually(lambda: not node._link.is_connected)
    go.touch()
    eventually(lambda: not node._runner._running)
    try:
        observer = Observer(port)
        with mosquitto(tmp_path, port), observer:
            assert observer.result_of("away").output == "done\n"
            eventually(lambda: node._runner._journal.undelivered() == [])
            assert len(observer.results("away")) == 1
    finally:
        node.stop()


def test_while_the_driver_hangs_samples_say_so_and_commands_still_run(mosquitto_port: int, tmp_path: Path) -> None:
    sampler = FragileSampler()
    node = make_node(mosquitto_port, tmp_path, sampler=sampler, hang_after_s=0.5)
    with Observer(mosquitto_port) as observer, running(node):
        uuids = {gpu.uuid for gpu in eventually(observer.metrics)[0].gpus}
        sampler.hang.set()
        degraded = eventually(lambda: [sample for sample in observer.metrics() if sample.health == "degraded"][2:])[0]
        assert "simulated has not answered for" in str(degraded.problem)
        assert {gpu.uuid for gpu in degraded.gpus} == uuids
        assert {(gpu.state, gpu.temperature_c, gpu.utilization_percent) for gpu in degraded.gpus} == {
            ("error", None, None)
        }
        assert observer.run("echo still here", "c").output == "still here\n"
        sampler.hang.clear()
        eventually(lambda: observer.metrics()[-1].health == "ok")
        eventually(
            lambda: [event.text.partition(":")[0] for event in observer.events("health")] == ["degraded", "ok again"]
        )
        assert [sample.seq for sample in observer.metrics()] == list(range(len(observer.metrics())))


def test_a_worker_whose_driver_hangs_still_stops_cleanly(mosquitto_port: int, tmp_path: Path) -> None:
    sampler = FragileSampler()
    with Observer(mosquitto_port) as observer:
        with running(make_node(mosquitto_port, tmp_path, sampler=sampler)):
            eventually(observer.metrics)
            sampler.hang.set()
        eventually(lambda: observer.statuses()[-1] == b"offline")
    sampler.hang.clear()


@pytest.mark.parametrize("error", [SamplerError("NVML is gone: load the driver"), RuntimeError("a mistake of ours")])
def test_a_source_that_fails_is_degraded_opened_again_and_comes_back_by_itself(
    mosquitto_port: int, tmp_path: Path, error: Exception
) -> None:
    sampler = FragileSampler()
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path, sampler=sampler)):
        eventually(observer.metrics)
        sampler.error = error
        degraded = eventually(lambda: [sample for sample in observer.metrics() if sample.health == "degraded"])[0]
        assert str(error) in str(degraded.problem)
        assert len(degraded.gpus) == 8
        eventually(lambda: sampler.starts >= 3)
        sampler.error = None
        eventually(lambda: observer.metrics()[-1].health == "ok")
        assert len(eventually(lambda: observer.events("health")[1:])) == 1


def test_a_sample_that_cannot_be_published_does_not_end_sampling(mosquitto_port: int, tmp_path: Path) -> None:
    class Garbled(FragileSampler):
        names = iter(["\ud800", "fine", "fine"])

        def read(self) -> Readings:
            return Readings((GpuReading(uuid="GPU-1", name=next(self.names, "fine")),))

    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path, sampler=Garbled())):
        assert eventually(observer.metrics)[0].gpus[0].name == "fine"


def test_a_source_that_cannot_be_used_at_start_is_an_error(tmp_path: Path) -> None:
    sampler = FragileSampler()
    sampler.error = SamplerError("there is no GPU here")
    node = make_node(free_port(), tmp_path, sampler=sampler)
    with pytest.raises(SamplerError, match="there is no GPU here"):
        node.start()
    node.stop()


def test_events_of_the_sampler_are_published(mosquitto_port: int, tmp_path: Path) -> None:
    sampler = FragileSampler()
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path, sampler=sampler)):
        sampler.happened = [Event(time=1.0, kind="xid", gpu="GPU-1", value=79, text="GPU has fallen off the bus")]
        assert eventually(lambda: observer.events("xid"))[0].value == 79


def test_the_inventory_is_published_again_when_it_changes(mosquitto_port: int, tmp_path: Path) -> None:
    sampler = FragileSampler()
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path, sampler=sampler)):
        eventually(lambda: observer.infos() and observer.metrics())
        before = len(observer.infos())
        sampler.missing = 1
        assert len(eventually(lambda: observer.infos()[before:])[0].gpus) == 7


def test_two_agents_with_one_worker_id_are_told_of(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as observer, running(make_node(mosquitto_port, tmp_path / "one")):
        eventually(lambda: observer.statuses() == [b"online"])
        assert observer.events("health") == []
        with running(make_node(mosquitto_port, tmp_path / "other")):
            (told,) = eventually(lambda: observer.events("health"))
            assert "another agent reports as w1 too" in told.text


def test_an_agent_that_comes_back_does_not_take_itself_for_another(tmp_path: Path) -> None:
    port = free_port()
    node = make_node(port, tmp_path)
    with contextlib.ExitStack() as stack:
        for connection in range(3):
            with mosquitto(tmp_path, port), Observer(port) as observer:
                if connection == 0:
                    stack.enter_context(running(node))
                eventually(lambda: b"online" in observer.statuses())
                observer.link.publish("gpumon/w1/status", b"offline", qos=1, retain=True)
                eventually(lambda: b"offline" in observer.statuses() and observer.statuses()[-1] == b"online", 30)
                assert observer.events("health") == []


def test_an_extension_hears_of_every_announcement(mosquitto_port: int, tmp_path: Path) -> None:
    class Heard:
        def __init__(self) -> None:
            self.infos: list[Info] = []
            self.is_stopped = False

        def start(self, link: MqttLink) -> None:
            assert not link.is_connected

        def stop(self) -> None:
            self.is_stopped = True

        def announced(self, info: Info) -> None:
            self.infos.append(info)

    heard = Heard()
    with running(make_node(mosquitto_port, tmp_path, extensions=[heard])):
        assert len(eventually(lambda: heard.infos)[0].gpus) == 8
    assert heard.is_stopped


def test_what_an_earlier_run_has_left_is_answered_for_at_start(mosquitto_port: int, tmp_path: Path) -> None:
    node = make_node(mosquitto_port, tmp_path)
    journal = Journal(tmp_path / "agent" / WORKER / "commands.jsonl")
    journal.open()
    journal.take([Command(id="half", command="make", by="lena"), Command(id="whole", command="true")])
    journal.ended(CommandResult(id="whole", command="true", state="finished", exit_code=0))
    with Observer(mosquitto_port) as observer, running(node):
        half = observer.result_of("half")
        assert (half.state, half.by, half.command) == ("failed", "lena", "make")
        assert "agent ended" in str(half.problem)
        assert observer.result_of("whole").exit_code == 0
        observer.send({"id": "half", "command": f"touch {tmp_path}/ran"})
        observer.run("true", "after")
        assert not (tmp_path / "ran").exists()
        assert len(observer.results("half")) == 1
        eventually(lambda: node._runner._journal.undelivered() == [])
