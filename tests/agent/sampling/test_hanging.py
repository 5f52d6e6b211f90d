"""A call into the driver that never returns: what is said of it, what goes on, and what happens when it does return."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.cards import KnownCards
from agent.node import WorkerNode
from agent.processes import ProcessTable
from agent.samplers.base import Inventory, Readings
from agent.samplers.choose import FirstThatWorks
from agent.samplers.nvml import NvmlSampler
from agent.sampling import Sample, Sampling
from gpumon.messages import Event, GpuInventory, GpuReading, HostReading
from tests.agent.runtime.support import WORKER, Observer, make_node, running
from tests.agent.sampling.conftest import Shown
from tests.standin import Standin, StandinGpu, environment
from tests.support import eventually

HANG_AFTER_S = 0.3
NEVER = -1


def machine(**hangs_ms: int) -> Standin:
    """Return two cards; a call about the second one hangs."""
    return Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b", hangs_ms=hangs_ms)])


class Heard:
    """Hears what sampling finds."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sampled(self, sample: Sample) -> None:
        self.samples.append(sample)

    def found(self, inventory: Inventory) -> None:
        pass

    def happened(self, event: Event) -> None:
        pass

    def problems(self) -> list[str]:
        return [sample.problem for sample in list(self.samples) if sample.problem]


@contextlib.contextmanager
def sampled(sampler: NvmlSampler | FirstThatWorks, folder: Path, host: HostReading | None = None) -> Iterator[Heard]:
    """Give what is heard of a sampler while it is read often, with the cards that a file in the folder knows."""
    heard = Heard()
    cards = KnownCards(folder / "cards.json")
    cards.load()
    sampling = Sampling(
        sampler=sampler,
        cards=cards,
        host=lambda: host,
        listener=heard,
        interval_s=0.05,
        hang_after_s=HANG_AFTER_S,
    )
    sampling.start(timeout_s=HANG_AFTER_S)
    yield heard
    sampling.stop(timeout_s=5)


def nvml(folder: Path) -> NvmlSampler:
    return NvmlSampler(ProcessTable(), sysfs=folder / "no-sysfs")


@pytest.fixture(autouse=True)
def nothing_hangs_on(show: Shown) -> Iterator[None]:
    """Let calls return in the end, also where a test fails: a thread of this process waits for each."""
    yield
    show(Standin())


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetFieldValues",
        "nvmlGpmSampleGet",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    ],
)
def test_a_call_that_never_returns_is_named_with_its_card_and_readings_come_back_when_it_does(
    show: Shown, tmp_path: Path, function: str
) -> None:
    show(machine())
    with sampled(nvml(tmp_path), tmp_path, HostReading(cpu_percent=5.0)) as heard:
        eventually(lambda: heard.samples)
        show(machine(**{function: NEVER}))
        problem = eventually(heard.problems)[0]
        assert problem.startswith("nvml has not answered for 0 s: ")
        assert f": {function} about the GPU at 0000:1C:00.0 hangs in the driver; see dmesg" in problem
        told = heard.samples[-1]
        assert [(gpu.uuid, gpu.state) for gpu in told.gpus] == [("GPU-a", "error"), ("GPU-b", "error")]
        assert told.host == HostReading(cpu_percent=5.0)
        show(machine())
        eventually(lambda: heard.samples[-1].problem is None)
        assert [gpu.state for gpu in heard.samples[-1].gpus] == ["ok", "ok"]


@pytest.mark.parametrize("is_first_of_several", [True, False])
def test_a_call_that_never_returns_at_the_start_is_told_with_the_cards_that_are_known(
    show: Shown, tmp_path: Path, *, is_first_of_several: bool
) -> None:
    known = [GpuInventory(uuid="GPU-b", index=1, name="NVIDIA H200"), GpuInventory(uuid="GPU-old", name="NVIDIA H100")]
    file = {"v": 1, "cards": [{"gpu": known[0], "lost": False}, {"gpu": known[1], "lost": True}]}
    (tmp_path / "cards.json").write_bytes(msgspec.json.encode(file))
    show(machine(nvmlDeviceGetUUID=NEVER))
    sampler = FirstThatWorks([lambda: nvml(tmp_path)]) if is_first_of_several else nvml(tmp_path)
    with sampled(sampler, tmp_path) as heard:
        problem = eventually(heard.problems)[0]
        assert "nvmlDeviceGetUUID about GPU 1 hangs in the driver" in problem
        assert heard.samples[0].gpus == [
            GpuReading(uuid="GPU-b", index=1, name="NVIDIA H200", state="error"),
            GpuReading(uuid="GPU-old", name="NVIDIA H100", state="lost"),
        ]
        show(machine())
        eventually(lambda: heard.samples[-1].problem is None)
        states = {gpu.uuid: gpu.state for gpu in heard.samples[-1].gpus}
        assert states == {"GPU-a": "ok", "GPU-b": "ok", "GPU-old": "lost"}


def test_a_file_system_that_hangs_is_not_said_to_be_the_driver(show: Shown, tmp_path: Path) -> None:
    show(machine())
    goes_on, heard = threading.Event(), Heard()
    goes_on.set()

    def host() -> HostReading:
        goes_on.wait(30)
        return HostReading(cpu_percent=5.0)

    sampling = Sampling(
        sampler=nvml(tmp_path),
        cards=KnownCards(tmp_path / "cards.json"),
        host=host,
        listener=heard,
        interval_s=0.05,
        hang_after_s=HANG_AFTER_S,
    )
    sampling.start()
    eventually(lambda: heard.samples)
    goes_on.clear()
    try:
        problem = eventually(heard.problems)[0]
        assert problem.startswith("the host's readings have not come for 0 s: a file system may hang")
        assert heard.samples[-1].host is None
    finally:
        goes_on.set()
    eventually(lambda: heard.samples[-1].problem is None and heard.samples[-1].host is not None)
    sampling.stop(timeout_s=5)


def test_a_listener_that_fails_once_still_hears_that_a_call_hangs(show: Shown, tmp_path: Path) -> None:
    class Failing(Heard):
        fails = 2

        def sampled(self, sample: Sample) -> None:
            if sample.problem and self.fails:
                self.fails -= 1
                raise ValueError("a mistake of ours")
            super().sampled(sample)

    show(machine())
    heard = Failing()
    sampling = Sampling(
        sampler=nvml(tmp_path),
        cards=KnownCards(tmp_path / "cards.json"),
        host=lambda: None,
        listener=heard,
        interval_s=0.05,
        hang_after_s=HANG_AFTER_S,
    )
    sampling.start()
    eventually(lambda: heard.samples)
    show(machine(nvmlDeviceGetPowerUsage=NEVER))
    eventually(heard.problems)
    show(machine())
    eventually(lambda: heard.samples[-1].problem is None)
    sampling.stop(timeout_s=5)


class Steady(NvmlSampler):
    """Counts its looks."""

    looks = 0

    def read(self) -> Readings:
        readings = super().read()
        self.looks += 1
        return readings


@pytest.mark.mosquitto
def test_while_a_call_hangs_the_worker_stays_online_runs_commands_and_stops_cleanly(
    mosquitto_port: int, show: Shown, tmp_path: Path
) -> None:
    def node(folder: Path, sampler: NvmlSampler) -> WorkerNode:
        return make_node(mosquitto_port, folder, sampler=sampler, hang_after_s=HANG_AFTER_S, interval_s=0.1)

    show(machine())
    sampler = Steady(ProcessTable(), sysfs=tmp_path / "no-sysfs")
    with Observer(mosquitto_port) as observer:
        with running(node(tmp_path, sampler)):
            eventually(observer.metrics)
            show(machine(nvmlDeviceGetPowerUsage=NEVER))
            degraded = eventually(lambda: [each for each in observer.metrics() if each.health == "degraded"][3:])[-1]
            assert "nvmlDeviceGetPowerUsage about the GPU at 0000:1C:00.0 hangs" in str(degraded.problem)
            looks = sampler.looks
            assert observer.run("echo still here", "c").output == "still here\n"
            count = len(observer.metrics())
            eventually(lambda: len(observer.metrics()) > count + 2)
            assert observer.statuses() == [b"online"]
            assert sampler.looks == looks
            show(machine())
            eventually(lambda: observer.metrics()[-1].health == "ok")
            told = eventually(lambda: observer.events("health")[1:] and observer.events("health"))
            assert [event.text.partition(":")[0] for event in told] == ["degraded", "ok again"]
            show(machine(nvmlDeviceGetPowerUsage=NEVER))
            eventually(lambda: observer.metrics()[-1].health == "degraded")
        eventually(lambda: observer.statuses() == [b"online", b"offline"])


@pytest.mark.mosquitto
def test_the_agents_process_ends_at_sigterm_while_a_call_hangs(
    mosquitto_port: int, library: Path, tmp_path: Path
) -> None:
    state = machine().write(tmp_path / "gpus.txt")
    (tmp_path / "token.txt").write_text("token")
    (tmp_path / "token.txt").chmod(0o600)
    words = [sys.executable, "-m", "agent", "--source", "nvml", "--interval", "0.1", "--worker-id", WORKER]
    words += ["--master", f"mqtt://127.0.0.1:{mosquitto_port}", "--token-file", str(tmp_path / "token.txt")]
    words += ["--data", str(tmp_path / "data")]
    with Observer(mosquitto_port) as observer:
        with subprocess.Popen(words, env=environment(library, state), stderr=subprocess.PIPE) as process:
            try:
                eventually(observer.metrics, 20)
                machine(nvmlDeviceGetPowerUsage=NEVER).write(state)
                eventually(lambda: time.time() - observer.metrics()[-1].time > 1.0)  # ten intervals
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0
            finally:
                process.kill()
        eventually(lambda: observer.statuses()[-1] == b"offline")
