"""The PCIe links: counters that pass their end within a second, and drivers that have none."""

from __future__ import annotations

import statistics

import pytest

from tests.agent.sampling.conftest import Opened, only
from tests.standin import NOT_SUPPORTED, Standin, StandinGpu

COUNTERS = ("field:197", "field:198")


def test_a_link_so_busy_that_its_counters_wrap_ten_times_a_second_is_measured(open_sampler: Opened) -> None:
    values = {"pcie_rx_bytes_per_s": 50_000_000_000, "pcie_tx_bytes_per_s": 1_000_000_000}
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=values)]))
    readings = [only(sampler) for _ in range(9)]
    # a machine that was held up gives no figure, so these are those that there are
    received = [reading.pcie_rx_bytes_per_s for reading in readings if reading.pcie_rx_bytes_per_s is not None]
    sent = [reading.pcie_tx_bytes_per_s for reading in readings if reading.pcie_tx_bytes_per_s is not None]
    assert statistics.median(received) == pytest.approx(50e9, rel=0.1)
    assert statistics.median(sent) == pytest.approx(1e9, rel=0.1)


def test_where_a_driver_has_no_counters_one_gpu_after_the_other_is_measured(open_sampler: Opened) -> None:
    gpus = [
        StandinGpu(
            uuid=f"GPU-{index}",
            values={"pcie_rx_bytes_per_s": (index + 1) * 1_000_000, "pcie_tx_bytes_per_s": 0},
            fails=dict.fromkeys(COUNTERS, NOT_SUPPORTED),
        )
        for index in range(3)
    ]
    sampler = open_sampler(Standin(gpus=gpus))
    looks = [[gpu.pcie_rx_bytes_per_s for gpu in sampler.read().gpus] for _ in range(3)]
    assert looks == [
        [1_000_000, None, None],
        [1_000_000, 2_000_000, None],
        [1_000_000, 2_000_000, 3_000_000],
    ]
    assert [gpu.pcie_tx_bytes_per_s for gpu in sampler.read().gpus] == [0, 0, 0]


def test_a_gpu_without_counters_and_throughput_has_no_figure(open_sampler: Opened) -> None:
    gpu = StandinGpu().without(*COUNTERS, "nvmlDeviceGetPcieThroughput")
    sampler = open_sampler(Standin(gpus=[gpu]))
    assert [only(sampler).pcie_rx_bytes_per_s for _ in range(2)] == [None, None]
