"""Readings through the program nvidia-smi: real outputs where they lie, and the project's own for what they lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.processes import ProcessTable
from agent.samplers.base import SamplerError
from agent.samplers.nvidia_smi import NvidiaSmiSampler
from gpumon.messages import GpuReading, Metrics, encode

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "samples" / "nvidia-smi"
FIXTURES = Path(__file__).with_name("fixtures")

Program = Callable[[str], NvidiaSmiSampler]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a program called nvidia-smi on PATH and return a sampler that runs it."""

    def install(script: str) -> NvidiaSmiSampler:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return NvidiaSmiSampler(ProcessTable(), timeout_s=1.0)

    return install


def printing(path: Path) -> str:
    """Return a script that prints a file, and for `-L` nothing."""
    return f'case "$1" in -L) ;; *) cat "{path}" ;; esac'


def real_sample(name: str) -> Path:
    """Return a real output, or skip the test where those do not lie beside the checkout."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the real outputs are not at {SAMPLES}")
    return path


def first(sampler: NvidiaSmiSampler) -> GpuReading:
    """Return the first card's reading."""
    sampler.start()
    return sampler.read().gpus[0]


@pytest.mark.parametrize(
    "name", ["a100-sxm4-v12.xml", "a10g.xml", "quadro-p400.xml", "rtx-3080-v13.xml", "tesla-t4.xml"]
)
def test_every_real_output_is_read_and_can_be_published(smi: Program, name: str) -> None:
    sampler = smi(printing(real_sample(name)))
    reading = first(sampler)
    assert reading.uuid
    assert reading.state == "ok"
    assert reading.temperature_c is not None
    assert reading.memory_total_bytes
    assert reading.memory_used_bytes is not None
    inventory = sampler.inventory()
    assert inventory.driver_version
    assert inventory.gpus[0].pci_bus_id is not None
    assert len(inventory.gpus[0].pci_bus_id) == len("0000:0C:00.0")
    gpus = list(sampler.read().gpus)
    assert encode(Metrics(time=1.0, seq=0, interval_s=5.0, source="nvidia-smi", gpus=gpus))


def test_the_values_of_a_real_output_of_the_newest_form(smi: Program) -> None:
    reading = first(smi(printing(real_sample("rtx-3080-v13.xml"))))
    assert reading.name == "NVIDIA GeForce RTX 3080"
    assert reading.fan_percent == 0
    assert reading.performance_state == 2
    assert reading.throttle_reasons == []
    assert (reading.pcie_generation, reading.pcie_width) == (4, 16)
    assert reading.pcie_rx_bytes_per_s == 14_742_333_000
    assert reading.ecc_corrected is None
    assert reading.energy_j is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("utilization_percent", 87),
        ("memory_utilization_percent", 12),
        ("temperature_c", 66),
        ("memory_temperature_c", None),
        ("power_w", 201.5),
        ("power_limit_w", 300.0),
        ("memory_used_bytes", 10240 << 20),
        ("memory_total_bytes", 24564 << 20),
        ("fan_percent", 0),
        ("sm_clock_mhz", 1980),
        ("memory_clock_mhz", 9501),
        ("performance_state", 2),
        ("throttle_reasons", ["sw_power_cap"]),
        ("encoder_percent", 0),
        ("pcie_generation", 4),
        ("pcie_width", 8),
        ("pcie_tx_bytes_per_s", 1_000_000),
        ("ecc_uncorrected", None),
        ("state", "ok"),
    ],
)
def test_each_reading_is_in_the_contracts_unit(smi: Program, field: str, value: object) -> None:
    assert getattr(first(smi(printing(FIXTURES / "healthy.xml"))), field) == value


def test_processes_carry_their_memory_and_kind(smi: Program) -> None:
    processes = {process.pid: process for process in first(smi(printing(FIXTURES / "healthy.xml"))).processes}
    assert processes[1].memory_bytes == 9000 << 20
    assert processes[1].type == "compute"
    assert processes[4194300].type == "graphics"
    assert processes[4194300].memory_bytes is None


def test_a_value_that_cannot_be_read_is_none_and_the_rest_is_kept(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "broken.xml"))
    sampler.start()
    readings = {gpu.uuid: gpu for gpu in sampler.read().gpus}
    half = readings["GPU-00000000-0000-0000-0000-00000000000a"]
    assert half.utilization_percent is None
    assert half.power_w is None
    assert half.temperature_c == 50


def test_mig_devices_are_listed(smi: Program) -> None:
    sampler = smi(f'case "$1" in -L) cat "{FIXTURES / "mig.list"}" ;; *) cat "{FIXTURES / "mig.xml"}" ;; esac')
    reading = first(sampler)
    assert sampler.inventory().gpus[0].mig is True
    assert [device.gpu_instance for device in reading.mig_devices] == [1, 2]
    assert reading.mig_devices[0].memory_used_bytes == 512 << 20
    assert reading.mig_devices[0].uuid.startswith("MIG-")
    assert reading.mig_devices[0].profile == "3g.40gb"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 30", "did not answer in 1 s and was killed"),
        ("exit 9", "exit code 9"),
        ("echo NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", "communicate"),
        ("echo '<nvidia_smi_log><gpu'", "nvidia-smi"),
        ("printf '<nvidia_smi_log></nvidia_smi_log>'", "no GPU"),
    ],
)
def test_a_program_that_cannot_be_read_is_said_in_one_line(smi: Program, script: str, said: str) -> None:
    with pytest.raises(SamplerError, match=said) as raised:
        smi(script).start()
    assert "\n" not in str(raised.value)


def test_a_missing_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SamplerError, match="not found"):
        NvidiaSmiSampler(ProcessTable()).start()


def test_the_program_is_not_run_more_often_than_it_can_answer(smi: Program, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    sampler = smi(f'echo run >> "{runs}"; sleep 0.3; cat "{FIXTURES / "healthy.xml"}"')
    sampler.start()
    for _ in range(20):
        sampler.read()
    assert runs.read_text().count("run") <= 2
