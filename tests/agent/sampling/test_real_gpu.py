"""Readings of a real GPU, where there is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.processes import ProcessTable
from agent.samplers.base import SamplerError
from agent.samplers.nvml import NvmlSampler
from tests.support import eventually

pytestmark = pytest.mark.gpu


@pytest.fixture
def sampler() -> Iterator[NvmlSampler]:
    """A sampler on this machine's own GPUs."""
    if not Path("/proc/driver/nvidia/version").exists() and not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA driver is loaded on this machine")
    real = NvmlSampler(ProcessTable())
    try:
        real.start()
    except SamplerError as error:
        pytest.skip(f"no GPU can be read on this machine: {error}")
    yield real
    real.stop()


def test_a_real_gpu_tells_believable_readings(sampler: NvmlSampler) -> None:
    inventory = sampler.inventory()
    assert inventory.driver_version
    assert inventory.cuda_version
    assert all(gpu.uuid.startswith("GPU-") and gpu.memory_total_bytes for gpu in inventory.gpus)
    sampler.read()
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.0)  # rates need time to pass
    for reading in sampler.read().gpus:
        assert reading.state == "ok"
        assert reading.temperature_c is not None
        assert 0 < reading.temperature_c < 110
        assert reading.utilization_percent is None or 0 <= reading.utilization_percent <= 100
        assert reading.memory_used_bytes is not None
        assert reading.memory_total_bytes is not None
        assert 0 <= reading.memory_used_bytes <= reading.memory_total_bytes
        assert reading.power_w is None or 0 < reading.power_w < 2000
        assert reading.throttle_reasons is not None
