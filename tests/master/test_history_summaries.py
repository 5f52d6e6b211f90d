"""What becomes of readings: quanta, and summaries of many."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gpumon.messages import GpuReading
from master.history.placing import SampleClock
from master.history.readings import GAP, GPU_QUANTISER, GPU_READINGS, HOST_READINGS
from master.history.summary import combined, fitted, nothing, summary_of_rows


def restored(**readings: Any) -> dict[str, float | None]:
    row = GPU_QUANTISER.row(GpuReading(uuid="GPU-0", **readings))
    assert row is not None
    return {
        reading.name: None if quanta == GAP else reading.restore(quanta)
        for reading, quanta in zip(GPU_READINGS, row, strict=True)
    }


def test_a_reading_comes_back_as_it_was_told_and_what_was_not_measured_as_nothing() -> None:
    found = restored(power_w=612.4, temperature_c=-7, utilization_percent=0, memory_used_bytes=61 * 2**30)
    assert found["power_w"] == 612.4
    assert found["temperature_c"] == -7
    assert found["utilization_percent"] == 0
    assert found["memory_used_bytes"] == 61 * 2**30
    assert found["fan_percent"] is None


def test_a_card_without_any_reading_is_no_row() -> None:
    assert GPU_QUANTISER.row(GpuReading(uuid="GPU-0", state="lost")) is None


@pytest.mark.parametrize("absurd", [10**400, -(10**400), 2**80, math.inf, -math.inf, math.nan, 1e300])
def test_absurd_numbers_are_bounded_and_leave_the_other_readings_alone(absurd: float) -> None:
    found = restored(power_w=absurd, memory_used_bytes=abs(absurd), temperature_c=41)
    assert found["temperature_c"] == 41
    assert found["power_w"] is None or abs(found["power_w"]) < 2**29


def test_codes_in_the_database_are_given_once() -> None:
    codes = [reading.code for reading in (*GPU_READINGS, *HOST_READINGS)]
    assert len(set(codes)) == len(codes)
    assert max(codes) < 84  # 1 + 3 * code + 2 has to fit a byte


def test_a_summary_has_the_count_and_each_readings_mean_lowest_and_highest() -> None:
    assert summary_of_rows([10, GAP, 20, GAP, 60, 5], 2) == (3, 30, 10, 60, 5, 5, 5)


def test_means_are_combined_by_their_numbers_of_samples() -> None:
    assert combined([(12, 100, 50, 200), (4, 20, 10, 30)]) == (16, 80, 10, 200)


def test_what_was_not_measured_does_not_count_in_a_mean() -> None:
    assert combined([(12, 100, 50, 200), (12, GAP, GAP, GAP)]) == (24, 100, 50, 200)
    assert combined([nothing(1), nothing(1)]) == nothing(1)


def test_a_summary_of_fewer_readings_has_gaps_for_the_newer_ones() -> None:
    assert fitted((3, 1, 1, 1), 2) == (3, 1, 1, 1, GAP, GAP, GAP)


def test_a_right_clock_counts_and_a_wrong_one_does_not() -> None:
    clock = SampleClock()
    assert clock.place(1000.0, 1, 1000.2) == 1000.0
    assert clock.place(4605.0, 2, 1005.0) == 1005.0
    behind = SampleClock()
    assert behind.place(-2600.0, 1, 1000.0) == 1000.0


def test_a_late_sample_keeps_its_time_and_a_repeated_one_is_none() -> None:
    clock = SampleClock()
    clock.place(1000.0, 1, 1000.2)
    assert clock.place(1020.0, 5, 1020.1) == 1020.0
    assert clock.place(1005.0, 2, 1020.2) == 1005.0
    assert clock.place(1005.0, 2, 1020.3) is None


def test_a_clock_that_is_set_back_is_not_believed_after_a_minute() -> None:
    clock = SampleClock()
    clock.place(10_000.0, 1, 10_000.0)
    assert (
        clock.place(6_405.0, 2, 10_005.0) == 6_405.0
    )  # might be late, so it is placed where nothing is taken any more
    assert clock.place(6_465.0, 3, 10_065.0) == 10_065.0
