"""XIDs and double-bit ECC errors the moment they happen."""

from __future__ import annotations

import threading

import pytest

from tests.agent.sampling.conftest import Opened, Shown, only
from tests.standin import DRIVER_NOT_LOADED, NOT_SUPPORTED, Standin, StandinGpu
from tests.support import eventually


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "xid"]


def test_an_xid_and_a_double_bit_error_become_events_and_the_last_xid(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a")]))
    assert sampler.events() == []
    assert only(sampler).last_xid is None
    show(Standin(gpus=[StandinGpu(uuid="GPU-a", xids=[79], double_bit_errors=1)]))
    happened = {}

    def both() -> bool:
        happened.update({event.kind: event for event in sampler.events()})
        return len(happened) == 2

    eventually(both)
    assert (happened["xid"].value, happened["xid"].gpu) == (79, "GPU-a")
    assert "fallen off the bus" in happened["xid"].text
    assert happened["ecc"].gpu == "GPU-a"
    assert sampler.events() == []
    assert only(sampler).last_xid == 79


def test_the_same_xid_twice_is_two_events_and_an_unknown_one_is_told_as_well(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(), StandinGpu(uuid="GPU-b")]))
    show(Standin(gpus=[StandinGpu(), StandinGpu(uuid="GPU-b", xids=[13, 13, 999])]))
    happened = []

    def three() -> bool:
        happened.extend(sampler.events())
        return len(happened) == 3

    eventually(three)
    assert [event.value for event in happened] == [13, 13, 999]
    assert {event.gpu for event in happened} == {"GPU-b"}
    assert [gpu.last_xid for gpu in sampler.read().gpus] == [None, 999]


def test_xids_of_the_others_are_still_told_when_a_card_is_lost(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b")]))
    show(Standin(gpus=[StandinGpu(uuid="GPU-a", lost=True), StandinGpu(uuid="GPU-b", xids=[48])]))
    (event,) = eventually(sampler.events)
    assert (event.kind, event.gpu, event.value) == ("xid", "GPU-b", 48)


def test_the_xid_of_a_lost_card_stays_with_it_also_when_nvml_no_longer_lists_it(
    open_sampler: Opened, show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.samplers.nvml.REOPEN_AFTER_S", 0.0)
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b")]))
    show(Standin(gpus=[StandinGpu(uuid="GPU-a"), StandinGpu(uuid="GPU-b", xids=[79], lost=True)]))
    eventually(sampler.events)
    sampler.read()
    show(Standin(gpus=[StandinGpu(uuid="GPU-a")]))
    sampler.read()
    by_uuid = {gpu.uuid: gpu for gpu in sampler.read().gpus}
    assert (by_uuid["GPU-b"].state, by_uuid["GPU-b"].last_xid) == ("lost", 79)


def test_stopping_ends_the_thread_that_waits_for_events_and_starting_begins_another(open_sampler: Opened) -> None:
    assert watching() == []
    sampler = open_sampler(Standin(gpus=[StandinGpu()]))
    assert len(watching()) == 1
    sampler.stop()
    assert watching() == []
    sampler.stop()
    sampler.start()
    assert len(watching()) == 1


@pytest.mark.parametrize("function", ["nvmlDeviceGetSupportedEventTypes", "nvmlDeviceRegisterEvents"])
def test_a_card_that_reports_no_events_is_read_without_a_thread(open_sampler: Opened, function: str) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(fails={function: NOT_SUPPORTED})]))
    assert only(sampler).state == "ok"
    assert watching() == []


@pytest.mark.parametrize("function", ["nvmlEventSetCreate", "nvmlEventSetWait_v2"])
def test_a_driver_without_events_is_read_all_the_same(open_sampler: Opened, function: str) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu()], missing=[function]))
    assert only(sampler).state == "ok"
    eventually(lambda: not watching())


def test_events_are_watched_again_after_the_driver_was_gone(open_sampler: Opened, show: Shown) -> None:
    sampler = open_sampler(Standin(gpus=[StandinGpu(uuid="GPU-a")]))
    show(Standin(gpus=[StandinGpu(uuid="GPU-a")], dead=DRIVER_NOT_LOADED))
    eventually(lambda: not watching())
    show(Standin(gpus=[StandinGpu(uuid="GPU-a", xids=[31])]))
    sampler.stop()
    sampler.start()
    (event,) = eventually(sampler.events)
    assert (event.gpu, event.value) == ("GPU-a", 31)
