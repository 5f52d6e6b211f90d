"""Which cards the driver has powered down, and that nobody wakes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.power_state import is_asleep, nvidia_cards
from agent.samplers.base import SamplerError
from gpumon.messages import GpuInventory, GpuReading
from tests.agent.sampling.conftest import Opened, only
from tests.agent.sampling.support import card_in_sysfs
from tests.standin import Standin, StandinGpu, calls, calls_about, load

BUS_ID = "0000:1B:00.0"


def test_the_cards_of_nvidias_driver_are_found(tmp_path: Path) -> None:
    card_in_sysfs(tmp_path, "0000:65:00.0", "active")
    card_in_sysfs(tmp_path, BUS_ID, "active")
    assert nvidia_cards(tmp_path) == (BUS_ID, "0000:65:00.0")


@pytest.mark.parametrize("driver", ["vfio-pci", "nouveau", None])
def test_a_card_that_another_driver_has_is_none_of_nvmls(tmp_path: Path, driver: str | None) -> None:
    card_in_sysfs(tmp_path, BUS_ID, "suspended", driver)
    assert nvidia_cards(tmp_path) == ()


@pytest.mark.parametrize(("file", "content"), [("vendor", "0x8086\n"), ("class", "0x040300\n")])
def test_other_devices_are_no_cards(tmp_path: Path, file: str, content: str) -> None:
    (card_in_sysfs(tmp_path, BUS_ID, "active") / file).write_text(content)
    assert nvidia_cards(tmp_path) == ()


@pytest.mark.parametrize(
    ("status", "asleep"), [("suspended", True), ("active", False), ("suspending", False), ("unsupported", False)]
)
def test_a_card_sleeps_where_the_kernel_says_so(tmp_path: Path, status: str, asleep: bool) -> None:
    card_in_sysfs(tmp_path, BUS_ID, status)
    assert is_asleep(BUS_ID, tmp_path) is asleep


def test_without_sysfs_there_is_nothing_to_know(tmp_path: Path) -> None:
    assert nvidia_cards(tmp_path / "none") == ()
    assert not is_asleep(BUS_ID, tmp_path / "none")


# -- the sampler; the stand-in's GPUs are at 0000:1B:00.0 and following --

KNOWN = GpuInventory(uuid="GPU-a", index=0, name="NVIDIA RTX A1000", pci_bus_id="0000:1B:00.0")


def test_a_machine_whose_cards_all_sleep_is_not_even_asked_whether_it_has_some(
    open_sampler: Opened, library: Path, tmp_path: Path
) -> None:
    card_in_sysfs(tmp_path / "sys", "0000:1B:00.0", "suspended")
    counter = load(library)
    before = calls(counter)
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a")]), (KNOWN,), tmp_path / "sys")
    assert sampler.read().gpus == (GpuReading(uuid="GPU-a", index=0, name="NVIDIA RTX A1000", state="asleep"),)
    assert sampler.inventory().gpus == (KNOWN,)
    assert calls(counter) == before


def test_a_card_that_sleeps_among_others_is_not_opened_until_it_wakes(
    open_sampler: Opened, library: Path, tmp_path: Path
) -> None:
    sysfs = tmp_path / "sys"
    card_in_sysfs(sysfs, "0000:1B:00.0", "suspended")
    card_in_sysfs(sysfs, "0000:1C:00.0", "active")
    counter = load(library)
    before = calls_about(counter, 0)
    machine = Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b")])
    sampler = open_sampler(machine, (KNOWN,), sysfs)
    for _ in range(2):
        states = {gpu.uuid: gpu.state for gpu in sampler.read().gpus}
        assert states == {"GPU-a": "asleep", "GPU-b": "ok"}
    assert calls_about(counter, 0) == before

    card_in_sysfs(sysfs, "0000:1B:00.0", "active")
    woken = sampler.read().gpus
    assert [(gpu.uuid, gpu.index, gpu.state) for gpu in woken] == [("GPU-a", 0, "ok"), ("GPU-b", 1, "ok")]


def test_a_card_that_falls_asleep_is_left_alone_and_keeps_its_index(
    open_sampler: Opened, library: Path, tmp_path: Path
) -> None:
    sysfs = tmp_path / "sys"
    card_in_sysfs(sysfs, "0000:1B:00.0", "active")
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a")]), (), sysfs)
    assert only(sampler).state == "ok"
    card_in_sysfs(sysfs, "0000:1B:00.0", "suspended")
    counter = load(library)
    before = calls_about(counter, 0)
    reading = only(sampler)
    assert (reading.state, reading.index, reading.temperature_c) == ("asleep", 0, None)
    assert calls_about(counter, 0) == before
    card_in_sysfs(sysfs, "0000:1B:00.0", "active")
    assert only(sampler).state == "ok"


def test_a_card_handed_to_a_virtual_machine_is_not_waited_for(open_sampler: Opened, tmp_path: Path) -> None:
    card_in_sysfs(tmp_path / "sys", "0000:65:00.0", "suspended", driver="vfio-pci")
    with pytest.raises(SamplerError, match="no GPU"):
        open_sampler(Standin(gpus=[]), (), tmp_path / "sys")
