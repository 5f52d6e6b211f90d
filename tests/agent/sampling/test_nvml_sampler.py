"""Readings through NVML's own interface."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from pathlib import Path

import msgspec
import pynvml
import pytest

from agent.samplers.base import SamplerError
from gpumon.messages import GpuReading, Metrics, encode
from tests.agent.sampling.conftest import Opened, Shown, only
from tests.standin import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    NO_PERMISSION,
    UNKNOWN_ERROR,
    Standin,
    StandinGpu,
    StandinProcess,
    calls,
    load,
)
from tests.support import eventually

EVERYTHING = {
    "temperature_c": 61,
    "memory_temperature_c": 70,
    "utilization_percent": 93,
    "memory_utilization_percent": 37,
    "memory_total_mib": 81920,
    "memory_used_mib": 40960,
    "memory_reserved_mib": 500,
    "power_mw": 612_400,
    "power_limit_mw": 700_000,
    "energy_mj": 5_000_000,
    "fan_percent": 44,
    "sm_clock_mhz": 1980,
    "memory_clock_mhz": 3201,
    "pstate": 2,
    "reasons": 0x4,
    "encoder_percent": 7,
    "decoder_percent": 8,
    "pcie_generation": 5,
    "pcie_width": 16,
    "ecc_corrected": 3,
    "ecc_uncorrected": 0,
}


def test_every_reading_of_the_contract_is_what_nvml_says(open_sampler: Opened) -> None:
    reading = only(open_sampler(Standin(gpus=[StandinGpu(values=EVERYTHING, name="NVIDIA H200")])))
    expected = {
        "name": "NVIDIA H200",
        "index": 0,
        "state": "ok",
        "temperature_c": 61,
        "memory_temperature_c": 70,
        "utilization_percent": 93,
        "memory_utilization_percent": 37,
        "memory_total_bytes": 81920 << 20,
        "memory_used_bytes": 40960 << 20,
        "power_w": 612.4,
        "power_limit_w": 700.0,
        "energy_j": 5000.0,
        "fan_percent": 44,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 3201,
        "performance_state": 2,
        "throttle_reasons": ["sw_power_cap"],
        "encoder_percent": 7,
        "decoder_percent": 8,
        "pcie_generation": 5,
        "pcie_width": 16,
        "ecc_corrected": 3,
        "ecc_uncorrected": 0,
        "last_xid": None,
        "mig_devices": [],
        "processes": [],
    }
    said = msgspec.structs.asdict(reading)
    assert {name: said[name] for name in expected} == expected


def test_a_true_zero_stays_zero(open_sampler: Opened) -> None:
    zeros = dict.fromkeys(["utilization_percent", "fan_percent", "encoder_percent", "ecc_corrected", "reasons"], 0)
    reading = only(open_sampler(Standin(gpus=[StandinGpu(values=zeros)])))
    assert (reading.utilization_percent, reading.fan_percent, reading.encoder_percent) == (0, 0, 0)
    assert reading.ecc_corrected == 0
    assert reading.throttle_reasons == []


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("nvmlDeviceGetFanSpeed", "fan_percent"),
        ("nvmlDeviceGetUtilizationRates", "utilization_percent"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
        ("nvmlDeviceGetPerformanceState", "performance_state"),
        ("nvmlDeviceGetEncoderUtilization", "encoder_percent"),
        ("nvmlDeviceGetCurrPcieLinkGeneration", "pcie_generation"),
    ],
)
def test_what_a_card_does_not_support_is_none_and_the_rest_is_read(
    open_sampler: Opened, function: str, field: str
) -> None:
    reading = only(open_sampler(Standin(gpus=[StandinGpu(values=EVERYTHING).without(function)])))
    assert getattr(reading, field) is None
    assert reading.state == "ok"
    assert reading.temperature_c == 61


def test_what_an_old_driver_does_not_have_is_none(open_sampler: Opened) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=EVERYTHING)], missing=["nvmlDeviceGetFanSpeed"]))
    assert only(sampler).fan_percent is None
    failing = StandinGpu(values=EVERYTHING, fails={"nvmlDeviceGetPowerUsage": FUNCTION_NOT_FOUND})
    sampler.stop()
    assert only(open_sampler(Standin(gpus=[failing]))).power_w is None


def test_a_card_without_fan_and_ecc_has_none_of_them(open_sampler: Opened) -> None:
    reading = only(open_sampler(Standin(gpus=[StandinGpu(values=EVERYTHING).without_fan_and_ecc()])))
    assert (reading.fan_percent, reading.ecc_corrected, reading.ecc_uncorrected) == (None, None, None)
    assert (reading.state, reading.memory_temperature_c, reading.energy_j) == ("ok", 70, 5000.0)


def test_a_driver_from_before_a_function_was_renewed_is_asked_by_the_older_one(open_sampler: Opened) -> None:
    missing = [
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    ]
    gpu = StandinGpu(values=EVERYTHING, processes=[StandinProcess(1), StandinProcess(2**22 - 1, type="G")])
    reading = only(open_sampler(Standin(gpus=[gpu], missing=missing)))
    assert reading.memory_total_bytes == 81920 << 20
    # before driver 510 what the driver keeps for itself counts as used
    assert reading.memory_used_bytes == (40960 + 500) << 20
    assert reading.throttle_reasons == ["sw_power_cap"]
    assert reading.power_limit_w == 700.0
    assert [(process.pid, process.type) for process in reading.processes] == [(1, "compute"), (2**22 - 1, "graphics")]


@pytest.mark.skipif(not hasattr(pynvml, "nvmlDeviceGetTemperatureV"), reason="this nvidia-ml-py has only the older one")
def test_a_driver_in_which_the_older_temperature_is_gone_is_asked_by_the_newer_one(open_sampler: Opened) -> None:
    gone = Standin(gpus=[StandinGpu(values=EVERYTHING)], missing=["nvmlDeviceGetTemperature"])
    reading = only(open_sampler(gone))
    assert (reading.state, reading.temperature_c) == ("ok", 61)


def test_what_is_not_supported_is_not_asked_for_again_each_second(open_sampler: Opened, library: Path) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu().without("nvmlDeviceGetFanSpeed", "nvmlDeviceGetPowerUsage")]))
    counter = load(library)
    sampler.read()
    before = calls(counter)
    sampler.read()
    second = calls(counter) - before
    sampler.stop()
    full = open_sampler(Standin(gpus=[StandinGpu()]))
    full.read()
    before = calls(counter)
    full.read()
    assert second < calls(counter) - before


def test_inventory_is_what_does_not_change(open_sampler: Opened) -> None:
    machine = Standin(gpus=[StandinGpu(uuid="GPU-one", values=EVERYTHING), StandinGpu()], driver="580.159", cuda=13000)
    inventory = open_sampler(machine).inventory()
    assert (inventory.driver_version, inventory.cuda_version) == ("580.159", "13.0")
    card = inventory.gpus[0]
    assert (card.uuid, card.index, card.memory_total_bytes, card.power_limit_w, card.mig) == (
        "GPU-one",
        0,
        81920 << 20,
        700.0,
        False,
    )
    assert card.pci_bus_id is not None
    assert card.pci_bus_id.endswith(".0")
    assert len(card.pci_bus_id) == len("0000:1B:00.0")


def test_a_card_lost_while_running_is_told_and_the_others_go_on_and_it_comes_back(
    open_sampler: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.samplers.nvml.REOPEN_AFTER_S", 0.0)
    whole = Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b"), StandinGpu(uuid="GPU-c")])
    sampler = open_sampler(whole)
    assert [gpu.state for gpu in sampler.read().gpus] == ["ok", "ok", "ok"]

    broken = Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b", lost=True), StandinGpu(uuid="GPU-c")])
    show(broken)
    readings = sampler.read()
    by_uuid = {gpu.uuid: gpu for gpu in readings.gpus}
    assert by_uuid["GPU-b"] == GpuReading(uuid="GPU-b", name=by_uuid["GPU-b"].name, state="lost")
    assert by_uuid["GPU-a"].temperature_c is not None
    assert by_uuid["GPU-c"].state == "ok"
    assert "the GPU at 0000:1C:00.0 no longer answers" in (readings.problem or "")

    show(whole)
    eventually(lambda: {gpu.uuid: gpu.state for gpu in sampler.read().gpus}.get("GPU-b") == "ok")


def test_a_card_that_nvml_no_longer_lists_is_lost_and_the_others_take_their_new_index(
    open_sampler: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.samplers.nvml.REOPEN_AFTER_S", 0.0)
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b"), StandinGpu(uuid="GPU-c")]))
    show(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b", lost=True), StandinGpu(uuid="GPU-c")]))
    sampler.read()
    assert [gpu.uuid for gpu in sampler.inventory().gpus] == ["GPU-a", "GPU-c"]
    show(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-c")]))
    sampler.read()
    states = {gpu.uuid: (gpu.index, gpu.state) for gpu in sampler.read().gpus}
    assert states == {"GPU-a": (0, "ok"), "GPU-c": (1, "ok"), "GPU-b": (None, "lost")}


def test_a_card_that_cannot_be_opened_does_not_keep_the_others_from_being_read(open_sampler: Opened) -> None:
    closed = StandinGpu(uuid="GPU-b", fails={"nvmlDeviceGetHandleByIndex_v2": NO_PERMISSION})
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a"), closed, StandinGpu(uuid="GPU-c")]))
    readings = sampler.read()
    assert [(gpu.uuid, gpu.index) for gpu in readings.gpus] == [("GPU-a", 0), ("GPU-c", 2)]
    assert "GPU 1: cannot be opened" in (readings.problem or "")


def test_an_unexpected_error_of_one_reading_makes_that_one_none(open_sampler: Opened) -> None:
    failing = StandinGpu(values=EVERYTHING, fails={"nvmlDeviceGetUtilizationRates": UNKNOWN_ERROR})
    reading = only(open_sampler(Standin(gpus=[failing])))
    assert (reading.state, reading.utilization_percent, reading.temperature_c) == ("ok", None, 61)


def test_a_card_that_does_not_even_tell_its_temperature_is_in_error_and_told(open_sampler: Opened) -> None:
    failing = StandinGpu(values=EVERYTHING, fails={"nvmlDeviceGetTemperature": UNKNOWN_ERROR})
    readings = open_sampler(Standin(gpus=[failing, StandinGpu()])).read()
    assert [gpu.state for gpu in readings.gpus] == ["error", "ok"]
    assert readings.problem


def test_mig_devices_are_listed_with_their_memory_and_processes(open_sampler: Opened) -> None:
    process = StandinProcess(os.getpid(), memory_mib=1000, mig_index=1)
    reading = only(open_sampler(Standin(gpus=[StandinGpu(mig_devices=3, processes=[process])])))
    assert len(reading.mig_devices) == 3
    assert len({device.uuid for device in reading.mig_devices}) == 3
    assert all(device.uuid.startswith("MIG-") and device.memory_total_bytes for device in reading.mig_devices)
    assert all(device.profile and "g." in device.profile for device in reading.mig_devices)
    (shown,) = reading.processes
    assert shown.mig_uuid == reading.mig_devices[1].uuid


def test_mig_devices_come_and_go_while_a_card_is_watched(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=EVERYTHING)]))
    assert (only(sampler).mig_devices, sampler.inventory().gpus[0].mig) == ([], False)
    show(Standin(gpus=[StandinGpu(values=EVERYTHING, mig_devices=2)]))
    sliced = only(sampler)
    assert [device.profile for device in sliced.mig_devices] == ["1g.18gb", "1g.18gb"]
    assert [device.gpu_instance for device in sliced.mig_devices] == [7, 8]
    # NVML has no utilization of a card in MIG mode
    assert (sliced.utilization_percent, sliced.encoder_percent, sliced.temperature_c) == (None, None, 61)
    assert sampler.inventory().gpus[0].mig is True
    show(Standin(gpus=[StandinGpu(values=EVERYTHING)]))
    whole = only(sampler)
    assert (whole.mig_devices, whole.utilization_percent) == ([], 93)


def test_what_a_process_does_not_tell_is_none_and_a_true_zero_is_zero(open_sampler: Opened, show: Shown) -> None:
    processes = [StandinProcess(1, memory_mib=-1), StandinProcess(os.getpid(), type="M", memory_mib=0, sm_percent=20)]
    sampler = open_sampler(Standin(gpus=[StandinGpu(processes=processes)]))
    first, client = only(sampler).processes
    assert (first.memory_bytes, first.sm_percent) == (None, 0)
    assert (client.type, client.memory_bytes, client.sm_percent) == ("compute", 0, 20)
    sampler.stop()
    sampler = open_sampler(Standin(gpus=[StandinGpu(processes=processes).without("nvmlDeviceGetProcessUtilization")]))
    assert [process.sm_percent for process in only(sampler).processes] == [None, None]


def test_processes_are_named_and_one_in_both_lists_is_shown_once(open_sampler: Opened) -> None:
    processes = [
        StandinProcess(os.getpid(), type="B", memory_mib=2048, sm_percent=55),
        StandinProcess(1, type="G", memory_mib=100),
        StandinProcess(2**22 - 1, memory_mib=10),
    ]
    shown = {
        process.pid: process
        for process in only(open_sampler(Standin(gpus=[StandinGpu(processes=processes)]))).processes
    }
    own = shown[os.getpid()]
    assert (own.type, own.memory_bytes, own.sm_percent) == ("compute", 2048 << 20, 55)
    assert own.user
    assert own.name
    assert shown[1].type == "graphics"
    assert shown[2**22 - 1].user is None
    assert len(shown) == 3


def test_rates_come_from_counters_and_are_none_at_the_first_look(open_sampler: Opened) -> None:
    values = {"nvlink_rx_kib_per_s": 1000, "nvlink_tx_kib_per_s": 2000, "pcie_rx_bytes_per_s": 5_000_000}
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=values)]))
    assert only(sampler).nvlink_rx_bytes_per_s is None
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 0.3)  # the counters move with time
    later = only(sampler)
    assert later.nvlink_rx_bytes_per_s == pytest.approx(1000 * 1024, rel=0.2)
    assert later.nvlink_tx_bytes_per_s == pytest.approx(2000 * 1024, rel=0.2)
    # a machine held up between the two looks at these counters has no figure
    measured = eventually(lambda: only(sampler).pcie_rx_bytes_per_s)
    assert measured == pytest.approx(5_000_000, rel=0.2)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Standin(init_error=DRIVER_NOT_LOADED), "driver"),
        (Standin(init_error=18), "version"),
        (Standin(gpus=[]), "no GPU"),
    ],
)
def test_a_machine_that_nvml_cannot_read_is_said_in_one_line(open_sampler: Opened, machine: Standin, said: str) -> None:
    with pytest.raises(SamplerError, match=said) as raised:
        open_sampler(machine)
    assert "\n" not in str(raised.value)


def test_a_driver_that_dies_and_comes_back_is_opened_again(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a")]))
    show(Standin(gpus=[StandinGpu(uuid="GPU-a")], dead=1))
    with pytest.raises(SamplerError):
        sampler.read()
    show(Standin(gpus=[StandinGpu(uuid="GPU-a")]))
    assert only(sampler).uuid == "GPU-a"


def test_a_driver_that_does_not_come_back_is_told_each_time(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin())
    show(Standin(dead=DRIVER_NOT_LOADED))
    for _ in range(2):
        with pytest.raises(SamplerError, match=r"(?i)driver"):
            sampler.read()
    show(Standin())
    assert len(sampler.read().gpus) == 4


def test_a_thousand_samples_leave_nothing_behind(
    open_sampler: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.samplers.pcie.WINDOW_S", 0.0)
    monkeypatch.setattr("agent.samplers.gpm.SHORTEST_WINDOW_S", 0.0)
    busy = StandinGpu(uuid="GPU-a", processes=[StandinProcess(os.getpid(), sm_percent=50)])
    whole = Standin(gpus=[busy, StandinGpu(uuid="GPU-b").without("nvmlDeviceGetFanSpeed")])
    cut = Standin(gpus=[busy, StandinGpu(uuid="GPU-b", mig_devices=2)])
    sampler = open_sampler(whole)

    def held_after(samples: int) -> int:
        for number in range(samples):
            if number % 100 == 0:
                show(cut if number % 200 else whole)
            encode(Metrics(time=0.0, seq=0, interval_s=1.0, source="nvml", gpus=list(sampler.read().gpus)))
        show(whole)
        sampler.read()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held_after(200)
        assert held_after(1000) - before < 20_000  # an object a sample would be 50,000
    finally:
        tracemalloc.stop()
