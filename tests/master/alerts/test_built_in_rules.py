"""Every rule that is on from the start, by the messages that real workers send."""

from __future__ import annotations

import pytest

from master.alerts.records import Alert, Severity
from tests.master.alerts.support import GIB, World, hot, process
from tests.master.support import gpu

LOST = gpu(0, state="lost") | {"index": None}


def only(desk: World) -> Alert:
    """The one alert that fires."""
    (alert,) = desk.desk.active()
    return alert


def test_a_card_that_is_hot_for_two_minutes_is_warned_about_until_it_is_below_80(desk: World) -> None:
    desk.reads(115, hot(85))
    assert desk.firing == []
    desk.reads(10, hot(85))
    alert = only(desk)
    assert (alert.rule, alert.severity, alert.gpu, alert.value, alert.threshold, alert.unit) == (
        "hot",
        Severity.WARNING,
        "GPU-0",
        85,
        85,
        "°C",
    )
    assert alert.text == "GPU 0 (NVIDIA H200) is at 85 °C (at or above 85 °C)"
    desk.reads(60, hot(80))
    assert desk.firing == [("hot", "w1", "GPU-0")]
    desk.reads(0, hot(79))
    assert desk.firing == []


def test_a_worker_that_says_goodbye_is_offline_after_two_minutes(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.publish("gpumon/w1/status", "offline")
    desk.wait(115)
    assert desk.firing == []
    desk.wait(10)
    alert = only(desk)
    assert (alert.rule, alert.severity, alert.gpu) == ("worker-offline", Severity.PAGE, None)
    assert alert.text == "it is offline: its connection to the broker has ended"
    desk.comes_online()
    desk.wait(1)
    assert desk.firing == []


def test_a_worker_that_falls_silent_is_offline_as_well(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.wait(75 + 110)
    assert desk.firing == []
    desk.wait(15)
    assert only(desk).text == "it is offline: nothing has been heard of it for 3.3 min"


def test_telemetry_that_is_broken_for_two_minutes_is_warned_about(desk: World) -> None:
    broken = {"health": "degraded", "problem": "NVML: driver/library version mismatch"}
    desk.reads(115, gpu(state="error"), **broken)
    assert desk.firing == []
    desk.reads(15, gpu(state="error"), **broken)
    assert only(desk).text == "its telemetry is broken: NVML: driver/library version mismatch"
    desk.reads(5, gpu())
    assert desk.firing == []


def test_a_lost_card_pages_and_a_card_that_is_found_again_ends_it(desk: World) -> None:
    desk.reads(25, LOST, gpu(1))
    assert desk.firing == []
    desk.reads(10, LOST, gpu(1))
    alert = only(desk)
    assert (alert.rule, alert.severity, alert.gpu) == ("gpu-lost", Severity.PAGE, "GPU-0")
    assert alert.text == "NVIDIA H200 (GPU-0) does not answer any more"
    desk.reads(0, gpu(0), gpu(1))
    assert desk.firing == []


@pytest.mark.parametrize("xid", [48, 62, 64, 74, 79, 95, 119, 120])
def test_a_critical_xid_pages_at_once(desk: World, xid: int) -> None:
    desk.samples(gpu())
    desk.happens("xid", xid, text="GPU has fallen off the bus")
    alert = only(desk)
    assert (alert.rule, alert.severity, alert.value, alert.count) == ("xid-critical", Severity.PAGE, xid, 1)
    assert alert.text == f"GPU 0 (NVIDIA H200) reports XID {xid}: GPU has fallen off the bus"


@pytest.mark.parametrize("xid", [13, 31, 43, 63, 92])
def test_an_xid_that_is_usually_a_programs_fault_is_noted(desk: World, xid: int) -> None:
    desk.samples(gpu())
    desk.happens("xid", xid)
    assert (only(desk).rule, only(desk).severity) == ("xid-note", Severity.NOTE)


def test_an_xid_that_no_rule_lists_is_no_alert(desk: World) -> None:
    desk.samples(gpu())
    desk.happens("xid", 45)
    assert desk.firing == []


def test_an_uncorrected_memory_error_pages_when_the_count_rises(desk: World) -> None:
    desk.samples(gpu(ecc_uncorrected=2))
    assert desk.firing == []  # nobody knows when those were
    desk.samples(gpu(ecc_uncorrected=3))
    assert (only(desk).rule, only(desk).severity, only(desk).count) == ("ecc-uncorrected", Severity.PAGE, 1)


def test_an_error_that_shows_as_an_event_and_in_the_count_is_counted_once(desk: World) -> None:
    desk.samples(gpu(ecc_uncorrected=0))
    desk.happens("ecc")
    desk.samples(gpu(ecc_uncorrected=1))
    assert only(desk).count == 1
    desk.samples(gpu(ecc_uncorrected=2))
    desk.happens("ecc")
    assert only(desk).count == 2
    assert only(desk).text == "GPU 0 (NVIDIA H200) has had 2 memory errors that could not be corrected"


def test_errors_that_are_counted_anew_after_the_driver_was_loaded_are_new_ones(desk: World) -> None:
    desk.samples(gpu(ecc_uncorrected=5))
    desk.samples(gpu(ecc_uncorrected=0))
    assert desk.firing == []
    desk.samples(gpu(1, ecc_uncorrected=5))
    desk.samples(gpu(1, ecc_uncorrected=3))
    assert only(desk).count == 3


@pytest.mark.parametrize(
    "reason", ["hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"]
)
def test_clocks_that_are_slowed_down_for_five_minutes_are_warned_about(desk: World, reason: str) -> None:
    desk.reads(295, gpu(throttle_reasons=["sw_power_cap", reason]))
    assert desk.firing == []
    desk.reads(10, gpu(throttle_reasons=["sw_power_cap", reason]))
    assert only(desk).text == f"GPU 0 (NVIDIA H200) is slowed down: {reason.replace('_', ' ')}"
    desk.reads(25, gpu(throttle_reasons=["sw_power_cap"]))
    assert [rule for rule, _, _ in desk.firing] == ["throttling"]
    desk.reads(10, gpu(throttle_reasons=["sw_power_cap"]))
    assert desk.firing == []


def test_clocks_that_are_free_for_a_moment_now_and_then_are_slowed_down_all_the_same(desk: World) -> None:
    for _ in range(21):
        desk.reads(10, gpu(throttle_reasons=["hw_thermal_slowdown"]))
        desk.reads(5, gpu(throttle_reasons=[]))
    assert [rule for rule, _, _ in desk.firing] == ["throttling"]


def test_clocks_that_are_slowed_down_for_a_moment_now_and_then_are_not(desk: World) -> None:
    for _ in range(20):
        desk.reads(5, gpu(throttle_reasons=["hw_thermal_slowdown"]))
        desk.reads(40, gpu(throttle_reasons=[]))
    assert desk.firing == []


def test_clocks_that_are_held_by_the_power_limit_or_by_idleness_are_no_alert(desk: World) -> None:
    desk.reads(600, gpu(throttle_reasons=["sw_power_cap", "gpu_idle", "applications_clocks_setting"]))
    assert desk.firing == []


def test_memory_that_is_full_for_ten_minutes_is_noted(desk: World) -> None:
    desk.reads(595, gpu(memory_used_bytes=99 * GIB, memory_total_bytes=100 * GIB))
    assert desk.firing == []
    desk.reads(10, gpu(memory_used_bytes=99 * GIB, memory_total_bytes=100 * GIB))
    assert only(desk).severity is Severity.NOTE
    assert only(desk).text == "the memory of GPU 0 (NVIDIA H200) is used to 99 % (at or above 99 %)"


def test_power_above_105_percent_of_its_limit_for_five_minutes_is_warned_about(desk: World) -> None:
    desk.reads(600, gpu(power_w=700.0, power_limit_w=700.0))
    assert desk.firing == []
    desk.reads(305, gpu(power_w=770.0, power_limit_w=700.0))
    assert only(desk).text == "GPU 0 (NVIDIA H200) draws 110 % of its limit (at or above 105 %)"


def test_memory_that_is_held_while_idle_for_fifteen_minutes_is_noted(desk: World) -> None:
    desk.reads(895, gpu(utilization_percent=4, processes=[process()]))
    assert desk.firing == []
    desk.reads(10, gpu(utilization_percent=0, processes=[process()]))
    alert = only(desk)
    assert (alert.rule, alert.severity) == ("idle-held", Severity.NOTE)
    assert alert.text == "20.0 GiB of GPU 0 (NVIDIA H200) held by research while it is used to 0 %"
    desk.reads(0, gpu(utilization_percent=60, processes=[process()]))
    assert desk.firing == []


@pytest.mark.parametrize(
    "card",
    [
        gpu(utilization_percent=0, processes=[]),
        gpu(utilization_percent=0, processes=[process(type="graphics")]),  # a display
        gpu(utilization_percent=0, processes=[process(memory_bytes=30 * 1024**2)]),  # an MPS server
        gpu(utilization_percent=None, processes=[process()]),  # MIG: NVML tells no utilization
        gpu(utilization_percent=5, processes=[process()]),
    ],
)
def test_a_card_that_nobody_keeps_from_others_is_not_held(desk: World, card: dict[str, object]) -> None:
    desk.reads(1200, card)
    assert desk.firing == []
