"""The simulated machine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from agent.samplers.simulated import SimulatedSampler
from agent.simulation.machine import LOST_AFTER_S
from agent.simulation.models import PROFILES, Fault, Profile
from gpumon.messages import Decoder, GpuReading, Metrics, MigDevice, encode


class Fleet:
    """Every profile once, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_766_000_000.0
        self.samplers = {
            profile: SimulatedSampler(f"sim-{number}", profile, clock=lambda: self.now)
            for number, profile in enumerate(PROFILES)
        }

    def after(self, seconds: float, step_s: float = 5.0) -> dict[Profile, tuple[GpuReading, ...]]:
        for _ in range(max(1, round(seconds / step_s))):
            self.now += step_s
            readings = {profile: sampler.read().gpus for profile, sampler in self.samplers.items()}
        return readings


def _faulty(readings: dict[Profile, tuple[GpuReading, ...]], fault: Fault) -> GpuReading:
    profile = next(profile for profile in PROFILES if profile.fault is fault)
    return next(gpu for gpu in readings[profile] if gpu.index == profile.faulty_card)


def test_everything_it_says_is_valid() -> None:
    fleet, decoder = Fleet(), Decoder(Metrics)
    for _ in range(20):
        for profile, gpus in fleet.after(60, 60).items():
            host = fleet.samplers[profile].host()
            sample = Metrics(time=fleet.now, seq=0, interval_s=5, source="simulated", gpus=list(gpus), host=host)
            assert decoder.decode(encode(sample)) == sample


def test_the_same_worker_has_the_same_cards_each_time() -> None:
    first, second, other = (SimulatedSampler(name) for name in ("a", "a", "b"))
    assert first.inventory() == second.inventory()
    assert {gpu.uuid for gpu in first.inventory().gpus}.isdisjoint(gpu.uuid for gpu in other.inventory().gpus)


def test_readings_hang_together() -> None:
    for gpus in Fleet().after(300).values():
        for gpu in gpus:
            assert gpu.power_w is not None
            assert gpu.power_limit_w is not None
            assert gpu.temperature_c is not None
            assert gpu.memory_used_bytes is not None
            assert gpu.memory_total_bytes is not None
            assert 0 < gpu.power_w <= gpu.power_limit_w
            assert 20 < gpu.temperature_c < 95
            assert gpu.memory_used_bytes <= gpu.memory_total_bytes
            assert gpu.memory_used_bytes >= sum(process.memory_bytes or 0 for process in gpu.processes) * 0.99
            if gpu.utilization_percent == 0:
                assert gpu.throttle_reasons == ["gpu_idle"]
                assert gpu.power_w < 0.2 * gpu.power_limit_w


def test_cards_since_hopper_and_their_slices_tell_how_busy_their_parts_are_and_older_ones_do_not() -> None:
    for profile, gpus in Fleet().after(300).items():
        measured_ones: list[GpuReading | MigDevice] = [*gpus, *(device for gpu in gpus for device in gpu.mig_devices)]
        for measured in measured_ones:
            parts = (measured.sm_percent, measured.tensor_percent, measured.dram_percent)
            assert [part is not None for part in parts] == [profile.model.has_gpm] * 3
        for gpu in gpus:
            if gpu.sm_percent is not None and gpu.utilization_percent is not None:
                assert (gpu.tensor_percent or 0) <= gpu.sm_percent <= gpu.utilization_percent + 1


def test_a_fleet_shows_what_is_remarkable_in_real_ones() -> None:
    fleet = Fleet()
    readings = fleet.after(120)
    hot, mig, ecc = (_faulty(readings, fault) for fault in (Fault.HOT, Fault.MIG, Fault.ECC))
    assert hot.temperature_c is not None
    assert hot.temperature_c > 84
    assert "hw_thermal_slowdown" in (hot.throttle_reasons or [])
    assert len(mig.mig_devices) == 4
    assert mig.utilization_percent is None
    assert {process.mig_uuid for process in mig.processes} <= {device.uuid for device in mig.mig_devices}
    assert ecc.ecc_uncorrected == 1
    idle = [gpu for gpus in readings.values() for gpu in gpus if gpu.utilization_percent == 0 and gpu.processes]
    assert idle, "no idle card holds memory"
    assert len({process.user for gpus in readings.values() for gpu in gpus for process in gpu.processes}) > 4


def test_the_lost_card_drops_out_with_an_xid() -> None:
    fleet = Fleet()
    profile = next(profile for profile in PROFILES if profile.fault is Fault.LOST)
    sampler = fleet.samplers[profile]
    assert len(sampler.read().gpus) == profile.count
    assert len(sampler.inventory().gpus) == profile.count
    assert len(fleet.after(LOST_AFTER_S + 5)[profile]) == profile.count - 1
    assert len(sampler.inventory().gpus) == profile.count - 1
    assert [event.value for event in sampler.events()] == [79]
    assert sampler.events() == []


def test_jobs_start_and_end_over_minutes() -> None:
    fleet = Fleet()
    seen: set[int] = set()
    counts = []
    for _ in range(60):
        gpus = fleet.after(60, 60)[PROFILES[0]]
        pids = {process.pid for gpu in gpus for process in gpu.processes}
        seen |= pids
        counts.append(len(pids))
    assert len(seen) > max(counts) + 5


def test_a_card_warms_up_and_cools_down_slowly() -> None:
    fleet = Fleet()
    temperatures = [[gpu.temperature_c or 0 for gpu in fleet.after(1, 1)[PROFILES[0]]] for _ in range(600)]
    for earlier, later in pairwise(temperatures[1:]):
        assert all(abs(after - before) <= 4 for before, after in zip(earlier, later, strict=True))


@pytest.mark.parametrize("setting", ["full", "script", "none"])
def test_command_lines_show_what_the_setting_allows(setting: str) -> None:
    sampler = SimulatedSampler("a", PROFILES[0], processes=setting)  # type: ignore[arg-type]
    commands = [process.command for gpu in sampler.read().gpus for process in gpu.processes]
    assert commands
    if setting == "none":
        assert set(commands) == {None}
    else:
        assert any("--" in str(command) for command in commands) is (setting == "full")
