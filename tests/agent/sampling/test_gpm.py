"""How busy the parts of a card are, by NVML's GPU performance monitoring, and what becomes of its buffers."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from agent.samplers.base import SamplerError
from agent.samplers.nvml import NvmlSampler
from gpumon.messages import GpuReading, MigDevice
from tests.agent.sampling.conftest import Opened, Shown, only
from tests.agent.sampling.support import card_in_sysfs, look
from tests.standin import (
    FUNCTION_NOT_FOUND,
    NO_PERMISSION,
    NOT_SUPPORTED,
    UNKNOWN_ERROR,
    Standin,
    StandinGpu,
    build,
    calls,
    environment,
    gpm_samples,
    load,
)

NONE = (None, None, None)
FUNCTIONS = (
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc",
    "nvmlGpmSampleFree",
    "nvmlGpmSampleGet",
    "nvmlGpmMigSampleGet",
    "nvmlGpmMetricsGet",
)


@pytest.fixture(autouse=True)
def any_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two looks be as near to each other as they are in a test."""
    monkeypatch.setattr("agent.samplers.gpm.SHORTEST_WINDOW_S", 0.0)


@pytest.fixture
def counter(library: Path) -> ctypes.CDLL:
    """The library, which counts calls and buffers."""
    return load(library)


def active(sm: int = 0, tensor: int = 0, dram: int = 0, **more: int) -> dict[str, int]:
    """Return what a card does, in thousandths."""
    parts = {"sm_active_permille": sm, "tensor_active_permille": tensor, "dram_active_permille": dram}
    return {**parts, **more}


def busy() -> StandinGpu:
    return StandinGpu(uuid="GPU-a", values=active(755, 412, 383))


def parts(reading: GpuReading | MigDevice) -> tuple[float | None, float | None, float | None]:
    return reading.sm_percent, reading.tensor_percent, reading.dram_percent


def second_look(sampler: NvmlSampler) -> GpuReading:
    sampler.read()
    return only(sampler)


def test_a_card_tells_how_busy_its_sms_tensor_cores_and_memory_are_from_the_second_look_on(
    open_sampler: Opened,
) -> None:
    sampler = open_sampler(Standin(gpus=[busy()]))
    assert parts(only(sampler)) == NONE
    assert parts(only(sampler)) == (75.5, 41.2, 38.3)


def test_the_figure_is_of_what_lies_between_the_last_two_looks(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=active(tensor=200))]))
    sampler.read()
    show(Standin(gpus=[StandinGpu(values=active(tensor=400))]))
    assert only(sampler).tensor_percent == 30.0
    assert only(sampler).tensor_percent == 40.0


def test_a_true_zero_stays_zero(open_sampler: Opened) -> None:
    assert parts(second_look(open_sampler(Standin(gpus=[StandinGpu(values=active())])))) == (0.0, 0.0, 0.0)


def test_a_look_too_soon_after_the_last_repeats_its_figure(
    open_sampler: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = open_sampler(Standin(gpus=[busy()]))
    second_look(sampler)
    monkeypatch.setattr("agent.samplers.gpm.SHORTEST_WINDOW_S", 3600.0)
    show(Standin(gpus=[StandinGpu(uuid="GPU-a", values=active(999))]))
    assert parts(only(sampler)) == (75.5, 41.2, 38.3)


def test_an_older_card_has_none_of_it_and_is_asked_once(open_sampler: Opened, counter: ctypes.CDLL) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(values={"gpm": 0})]))
    assert parts(second_look(sampler)) == NONE
    before = calls(counter)
    sampler.read()
    of_an_older_card = calls(counter) - before
    assert gpm_samples(counter) == 0
    sampler.stop()
    sampler = open_sampler(Standin(gpus=[busy()]))
    second_look(sampler)
    before = calls(counter)
    sampler.read()
    assert calls(counter) - before == of_an_older_card + 2  # one sample, and what lies between it and the last


@pytest.mark.parametrize(
    "machine",
    [
        Standin(gpus=[busy()], missing=FUNCTIONS),
        Standin(gpus=[busy().without("nvmlGpmQueryDeviceSupport")]),
        Standin(gpus=[busy().without("nvmlGpmSampleGet")]),
        Standin(gpus=[StandinGpu(fails={"nvmlGpmSampleGet": NO_PERMISSION})]),
        Standin(gpus=[StandinGpu(fails={"nvmlGpmQueryDeviceSupport": FUNCTION_NOT_FOUND})]),
        Standin(gpus=[busy()], missing=["nvmlGpmSampleAlloc"]),
        Standin(gpus=[busy()], missing=["nvmlGpmMetricsGet"]),
    ],
)
def test_what_a_driver_or_card_does_not_have_is_none_and_is_not_asked_for_each_second(
    open_sampler: Opened, show: Shown, counter: ctypes.CDLL, machine: Standin
) -> None:
    sampler = open_sampler(machine)
    for _ in range(2):
        reading = second_look(sampler)
        assert (parts(reading), reading.state) == (NONE, "ok")
        assert reading.temperature_c is not None
    before = calls(counter)
    sampler.read()
    with_none = calls(counter) - before
    show(Standin(gpus=[busy()]))
    before = calls(counter)
    assert parts(only(sampler)) == NONE
    assert calls(counter) - before == with_none
    sampler.stop()
    assert gpm_samples(counter) == 0


def test_a_library_that_does_not_have_it_yet_is_read_as_before(tmp_path: Path) -> None:
    older = build(tmp_path / "older", "-DWITHOUT_GPM")
    looked = look(environment(older, Standin(gpus=[busy()]).write(tmp_path / "gpus.txt")))
    (reading,) = looked.looks[1].gpus
    assert (reading.state, parts(reading)) == ("ok", NONE)
    assert reading.temperature_c is not None


@pytest.mark.parametrize("function", ["nvmlGpmSampleGet", "nvmlGpmQueryDeviceSupport"])
def test_an_unexpected_error_makes_it_none_and_passes(open_sampler: Opened, show: Shown, function: str) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a", fails={function: UNKNOWN_ERROR})]))
    reading = second_look(sampler)
    assert (parts(reading), reading.state) == (NONE, "ok")
    show(Standin(gpus=[busy()]))
    assert parts(second_look(sampler)) == (75.5, 41.2, 38.3)


def test_a_metric_that_nvml_does_not_have_is_none_beside_the_others(open_sampler: Opened) -> None:
    gpu = StandinGpu(values=active(755, 412, 383), fails={"gpm:5": NOT_SUPPORTED})
    assert parts(second_look(open_sampler(Standin(gpus=[gpu])))) == (75.5, None, 38.3)


@pytest.mark.parametrize(("permille", "said"), [(1003, 100.0), (1000, 100.0), (1200, None), (-10, None)])
def test_a_figure_a_little_above_100_is_100_and_nonsense_is_none(
    open_sampler: Opened, permille: int, said: float | None
) -> None:
    gpu = StandinGpu(values=active(tensor=permille))
    assert second_look(open_sampler(Standin(gpus=[gpu]))).tensor_percent == said


def test_each_mig_device_has_the_figures_of_its_gpu_instance(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(values=active(300, 100, 200), mig_devices=2)]))
    first = only(sampler)
    assert [parts(device) for device in first.mig_devices] == [NONE, NONE]
    second = only(sampler)
    assert [parts(device) for device in second.mig_devices] == [(30.0, 10.0, 20.0)] * 2
    assert second.utilization_percent is None
    show(Standin(gpus=[StandinGpu(values=active(300, 100, 200), mig_devices=3)]))
    assert [parts(device) for device in only(sampler).mig_devices] == [(30.0, 10.0, 20.0)] * 2 + [NONE]


def test_buffers_follow_the_mig_devices_that_there_are(open_sampler: Opened, show: Shown, counter: ctypes.CDLL) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(mig_devices=3)]))
    second_look(sampler)
    assert gpm_samples(counter) == 2 * (1 + 3)
    show(Standin(gpus=[StandinGpu(mig_devices=1)]))
    sampler.read()
    assert gpm_samples(counter) == 2 * (1 + 1)
    show(Standin(gpus=[StandinGpu()]))
    sampler.read()
    assert gpm_samples(counter) == 2
    sampler.stop()
    assert gpm_samples(counter) == 0


def test_a_lost_card_gives_its_buffers_back_and_begins_anew_when_it_answers_again(
    open_sampler: Opened, show: Shown, counter: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.samplers.nvml.REOPEN_AFTER_S", 0.0)
    whole = Standin(gpus=[busy(), StandinGpu(uuid="GPU-b")])
    sampler = open_sampler(whole)
    sampler.read()
    sampler.read()
    assert gpm_samples(counter) == 4
    show(Standin(gpus=[StandinGpu(uuid="GPU-a", lost=True), StandinGpu(uuid="GPU-b")]))
    readings = sampler.read().gpus
    assert (readings[0].state, parts(readings[0])) == ("lost", NONE)
    assert gpm_samples(counter) == 2
    show(whole)
    assert parts(sampler.read().gpus[0]) == NONE
    assert parts(sampler.read().gpus[0]) == (75.5, 41.2, 38.3)
    assert gpm_samples(counter) == 4


def test_a_card_that_falls_asleep_gives_its_buffers_back(
    open_sampler: Opened, counter: ctypes.CDLL, tmp_path: Path
) -> None:
    card_in_sysfs(tmp_path, "0000:1B:00.0", "active")
    sampler = open_sampler(Standin(gpus=[busy()]), sysfs=tmp_path)
    second_look(sampler)
    card_in_sysfs(tmp_path, "0000:1B:00.0", "suspended")
    assert only(sampler).state == "asleep"
    assert gpm_samples(counter) == 0


def test_no_buffer_is_left_after_the_driver_was_loaded_again_nor_after_a_stop(
    open_sampler: Opened, show: Shown, counter: ctypes.CDLL
) -> None:
    sampler = open_sampler(Standin(gpus=[busy()]))
    for _ in range(3):
        assert parts(second_look(sampler)) == (75.5, 41.2, 38.3)
        assert gpm_samples(counter) == 2
        show(Standin(gpus=[busy()], dead=1))
        with pytest.raises(SamplerError):
            sampler.read()
        assert gpm_samples(counter) == 0
        show(Standin(gpus=[busy()]))
    sampler.stop()
    sampler.stop()
    assert gpm_samples(counter) == 0


def test_a_thousand_looks_keep_two_buffers(open_sampler: Opened, counter: ctypes.CDLL) -> None:
    sampler = open_sampler(Standin(gpus=[busy().without("field:197", "field:198", "nvmlDeviceGetPcieThroughput")]))
    for _ in range(1000):
        sampler.read()
    assert gpm_samples(counter) == 2
