"""Readings of a real GPU, where there is one."""

from __future__ import annotations

import os

import pytest

from gpumon.messages import GpuReading
from tests.agent.sampling.support import PAUSE_S, Looked, look
from tests.standin import STATE_VARIABLE

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def looked() -> Looked:
    """What this machine's own GPUs say, read in a process that has not loaded the stand-in."""
    answer = look({name: value for name, value in os.environ.items() if name != STATE_VARIABLE})
    if answer.refusal is not None:
        pytest.skip(f"no GPU can be read on this machine: {answer.refusal}")
    return answer


def test_the_inventory_of_a_real_machine_is_whole(looked: Looked) -> None:
    assert looked.inventory is not None
    assert looked.inventory.driver_version
    assert looked.inventory.cuda_version
    assert looked.inventory.gpus
    for gpu in looked.inventory.gpus:
        assert gpu.uuid.startswith("GPU-")
        assert gpu.name
        assert gpu.pci_bus_id
        assert gpu.memory_total_bytes is None or gpu.memory_total_bytes > 2**30


def plausible(reading: GpuReading) -> None:
    """Check what holds for every GPU that works."""
    assert reading.state == "ok"
    assert reading.temperature_c is not None
    assert 0 < reading.temperature_c < 110
    assert reading.utilization_percent is None or 0 <= reading.utilization_percent <= 100
    if reading.memory_total_bytes is not None:  # GPUs that share the machine's memory do not tell
        assert reading.memory_used_bytes is not None
        assert 0 <= reading.memory_used_bytes <= reading.memory_total_bytes
    assert reading.power_w is None or 0 < reading.power_w < 2000
    assert reading.power_limit_w is None or 0 < reading.power_limit_w < 2000
    assert reading.sm_clock_mhz is None or 0 < reading.sm_clock_mhz < 5000
    assert reading.performance_state is None or 0 <= reading.performance_state <= 15
    assert reading.throttle_reasons is not None
    for share in (reading.sm_percent, reading.tensor_percent, reading.dram_percent):
        assert share is None or 0 <= share <= 100
    for rate in (reading.pcie_rx_bytes_per_s, reading.pcie_tx_bytes_per_s):
        assert rate is None or 0 <= rate < 130e9  # PCIe 6.0 x16 carries 121 GB/s


def test_two_looks_at_real_gpus_are_plausible(looked: Looked) -> None:
    for readings in looked.looks:
        assert readings.gpus
        assert readings.problem is None
        for reading in readings.gpus:
            plausible(reading)


def test_the_energy_of_a_real_gpu_grows_as_its_power_says(looked: Looked) -> None:
    first, second = looked.looks
    compared = 0
    for before, after in zip(first.gpus, second.gpus, strict=True):
        assert before.uuid == after.uuid
        if before.energy_j is None or after.energy_j is None or after.power_w is None:
            continue
        assert 0 <= after.energy_j - before.energy_j < 2000 * (PAUSE_S + 5.0)
        compared += 1
    if not compared:
        pytest.skip("these GPUs do not tell their energy")
