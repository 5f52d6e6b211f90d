"""What becomes of NVML's many ways of saying "no", through the real nvidia-ml-py."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest

from agent.nvml import Field, GpuFaultError, GpuLostError, Nvml, NvmlDeadError, NvmlDevice
from agent.samplers.base import SamplerError
from tests.agent.sampling.conftest import Shown
from tests.agent.sampling.support import look
from tests.standin import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    UNKNOWN_ERROR,
    VERSION_MISMATCH,
    Standin,
    StandinGpu,
    calls,
    environment,
    load,
)

FAN = "nvmlDeviceGetFanSpeed"
NO_DATA = 21
INVALID_ARGUMENT = 2

Opened = Callable[[StandinGpu], NvmlDevice]


@pytest.fixture
def nvml(show: Shown) -> Iterator[Nvml]:
    """NVML, opened on a machine with one GPU."""
    show(Standin(gpus=[StandinGpu()]))
    opened = Nvml()
    opened.start()
    yield opened
    opened.stop()


@pytest.fixture
def device(nvml: Nvml, show: Shown) -> Opened:
    """Show this GPU and open it."""

    def opening(gpu: StandinGpu) -> NvmlDevice:
        handle = nvml.query(pynvml.nvmlDeviceGetHandleByIndex, 0)
        show(Standin(gpus=[gpu]))
        return nvml.device(handle, "GPU 0")

    return opening


def failing(code: int, function: str = FAN) -> StandinGpu:
    return StandinGpu(fails={function: code})


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, NO_DATA])
def test_a_reading_that_is_not_there_is_none(device: Opened, code: int) -> None:
    assert device(failing(code)).query(pynvml.nvmlDeviceGetFanSpeed) is None


def test_a_true_zero_stays_zero_and_a_mark_for_not_available_is_none(device: Opened) -> None:
    shown = device(StandinGpu(values={"fan_percent": 0, "power_mw": 0xFFFFFFFF}))
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) == 0
    assert shown.query(pynvml.nvmlDeviceGetPowerUsage) is None


def test_what_is_not_supported_is_asked_again_only_after_a_while(
    device: Opened, library: Path, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, counter = device(failing(NOT_SUPPORTED)), load(library)
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) is None
    before = calls(counter)
    show(Standin(gpus=[StandinGpu(values={"fan_percent": 30})]))
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) is None
    assert calls(counter) == before
    monkeypatch.setattr("agent.nvml.RETRY_ABSENT_AFTER_S", 0.0)
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) == 30


def test_what_was_not_supported_is_asked_again_when_the_mode_of_a_gpu_has_changed(device: Opened, show: Shown) -> None:
    shown = device(failing(NOT_SUPPORTED))
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) is None
    show(Standin(gpus=[StandinGpu(values={"fan_percent": 30})]))
    shown.forget_absent()
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) == 30


def test_what_has_no_value_at_the_moment_is_asked_again_at_once(device: Opened, show: Shown) -> None:
    shown = device(failing(NO_DATA))
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed, nothing=()) == ()
    show(Standin(gpus=[StandinGpu(values={"fan_percent": 30})]))
    assert shown.query(pynvml.nvmlDeviceGetFanSpeed) == 30


@pytest.mark.parametrize("code", [UNKNOWN_ERROR, RESET_REQUIRED])
def test_an_error_of_one_reading_is_none_and_logged_once(
    device: Opened, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    shown = device(failing(code))
    with caplog.at_level(logging.INFO):
        assert [shown.query(pynvml.nvmlDeviceGetFanSpeed) for _ in range(3)] == [None] * 3
    assert [record.message for record in caplog.records if FAN in record.message] == [caplog.records[0].message]
    assert shown.problem is None


def test_an_error_of_a_reading_that_every_gpu_has_is_kept_as_the_problem(device: Opened) -> None:
    shown = device(failing(RESET_REQUIRED, "nvmlDeviceGetTemperature"))
    assert shown.require(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU) is None
    assert "nvmlDeviceGetTemperature" in (shown.problem or "")


def test_a_lost_gpu_is_an_error_of_its_own_whichever_way_it_is_asked(device: Opened) -> None:
    shown = device(StandinGpu(lost=True))
    with pytest.raises(GpuLostError):
        shown.query(pynvml.nvmlDeviceGetFanSpeed)
    with pytest.raises(GpuLostError):
        shown.require(pynvml.nvmlDeviceGetUUID)
    with pytest.raises(GpuLostError):
        device(failing(GPU_IS_LOST, "field:83")).fields([83])


@pytest.mark.parametrize("code", [1, DRIVER_NOT_LOADED, VERSION_MISMATCH])
def test_a_dead_nvml_is_an_error_of_its_own(device: Opened, show: Shown, code: int) -> None:
    shown = device(StandinGpu())
    show(Standin(gpus=[StandinGpu()], dead=code))
    with pytest.raises(NvmlDeadError, match="started again"):
        shown.query(pynvml.nvmlDeviceGetFanSpeed)


def test_an_error_about_the_whole_machine_is_raised(nvml: Nvml) -> None:
    with pytest.raises(GpuFaultError, match="nvmlDeviceGetHandleByIndex"):
        nvml.query(pynvml.nvmlDeviceGetHandleByIndex, 5)


def test_fields_that_are_not_there_are_none_among_those_that_are(
    device: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"energy_mj": 0, "ecc_corrected": 3, "memory_temperature_c": 0xFFFFFFFF}
    fails = {"field:4": NOT_SUPPORTED, "field:138": UNKNOWN_ERROR}
    aggregate = (138, 0xFFFFFFFF)
    asked: list[Field] = [83, 3, 4, 82, 250, aggregate]
    shown = device(StandinGpu(values=values, fails=fails))
    expected = {83: 0, 3: 3, 4: None, 82: None, 250: None, aggregate: None}
    assert shown.fields(asked) == expected
    # an error may pass, what is not supported does not
    show(Standin(gpus=[StandinGpu(values={**values, "ecc_uncorrected": 0})]))
    again = shown.fields(asked)
    assert again[aggregate] is not None
    assert again[4] is None
    monkeypatch.setattr("agent.nvml.RETRY_ABSENT_AFTER_S", 0.0)
    assert shown.fields(asked)[4] == 0


def test_a_driver_without_field_values_has_none_of_them(device: Opened, library: Path) -> None:
    shown, counter = device(failing(FUNCTION_NOT_FOUND, "nvmlDeviceGetFieldValues")), load(library)
    assert shown.fields([83, 3]) == {83: None, 3: None}
    before = calls(counter)
    assert shown.fields([83, 3]) == {83: None, 3: None}
    assert calls(counter) == before


def test_starting_and_stopping_twice_is_the_same_as_once(nvml: Nvml) -> None:
    nvml.start()
    nvml.stop()
    nvml.stop()
    assert not nvml.started
    with pytest.raises(NvmlDeadError):
        nvml.query(pynvml.nvmlDeviceGetCount)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (DRIVER_NOT_LOADED, "kernel driver is not loaded"),
        (VERSION_MISMATCH, "different versions: the driver was updated, so reboot"),
        (NO_PERMISSION, "/dev/nvidia"),
        (UNKNOWN_ERROR, "restart the container"),
        (17, "see nvidia-smi and dmesg"),
    ],
)
def test_nvml_that_does_not_start_is_said_in_one_line_with_what_to_do(show: Shown, code: int, said: str) -> None:
    show(Standin(init_error=code))
    with pytest.raises(SamplerError, match=said) as raised:
        Nvml().start()
    assert "\n" not in str(raised.value)


def test_a_machine_without_the_library_is_told_to_install_the_driver() -> None:
    refusal = look({**os.environ, "LD_LIBRARY_PATH": ""}).refusal
    if refusal is None:
        pytest.skip("NVIDIA's library is installed on this machine")
    assert "libnvidia-ml.so.1 was not found: install the NVIDIA driver" in refusal
    assert "\n" not in refusal


def test_a_subprocess_reads_the_stand_in_without_a_description(library: Path) -> None:
    looked = look(environment(library))
    assert looked.inventory is not None
    assert len(looked.inventory.gpus) == 4
    assert {gpu.state for gpu in looked.looks[1].gpus} == {"ok"}
