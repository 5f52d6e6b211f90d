"""A machine with GPUs, as NVML's interface shows it: the real nvidia-ml-py over the stand-in library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.processes import ProcessTable
from agent.samplers.nvml import NvmlSampler
from gpumon.messages import GpuInventory, GpuReading
from tests.standin import STATE_VARIABLE, Standin, build, load

Shown = Callable[[Standin], None]
Opened = Callable[..., NvmlSampler]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in library, which this process has loaded in place of NVIDIA's."""
    folder = build(tmp_path_factory.mktemp("standin"))
    load(folder)
    return folder


@pytest.fixture
def show(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Make NVML show a machine, also while it is being read."""
    state = tmp_path / "gpus.txt"
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    return lambda machine: (machine.write(state), None)[1]


@pytest.fixture
def open_sampler(show: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Show a machine and open a sampler on it; all are closed in the end, without waiting long for XIDs first."""
    monkeypatch.setattr("agent.xid.WAIT_MS", 20)
    opened: list[NvmlSampler] = []

    def opening(machine: Standin, known: tuple[GpuInventory, ...] = (), sysfs: Path | None = None) -> NvmlSampler:
        show(machine)
        sampler = NvmlSampler(ProcessTable(), known, sysfs or tmp_path / "no-sysfs")
        opened.append(sampler)
        sampler.start()
        return sampler

    yield opening
    for sampler in opened:
        sampler.stop()


def only(sampler: NvmlSampler) -> GpuReading:
    """Return the reading of the one GPU that there is."""
    (reading,) = sampler.read().gpus
    return reading
