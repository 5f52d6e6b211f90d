"""A simulated card: its readings follow from what runs on it, as they do on a real one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import msgspec

from agent.processes import ProcessSetting, shown_command
from agent.simulation.jobs import Job
from agent.simulation.models import GIB, Fault, Model
from gpumon.messages import GpuInventory, GpuReading, MigDevice, Process

ROOM_C = 24.0
THERMAL_TIME_S = 25.0  # after this time a step in power has moved the temperature by 63 %
LOAD_TIME_S = 2.0
SLOWDOWN_C = 87.0
RECOVERY_C = 84.0
_MIG_SLICES = ((3, "3g.40gb", 40), (2, "2g.20gb", 20), (1, "1g.10gb", 10), (1, "1g.10gb", 10))
_RESERVED_BYTES = 512 * 1024**2  # by the driver, on a card without processes


class SimulatedCard:
    """One card. `read` moves it on to a moment: load, power, temperature and clocks each follow the one before."""

    def __init__(self, model: Model, index: int, rng: random.Random, fault: Fault | None = None) -> None:
        self.model = model
        self.index = index
        self.fault = fault
        self.uuid = _uuid("GPU", rng)
        self.ecc_uncorrected = 0
        self.last_xid: int | None = None
        self._rng = rng
        self._pci_bus_id = f"0000:{0x1B + 0x11 * index:02X}:00.0"
        self._serial = str(rng.randrange(1_320_000_000_000, 1_659_999_999_999))
        self._time: float | None = None
        self._load = 0.0
        self._power_w = model.idle_power_w
        self._temperature_c = ROOM_C + 8.0
        self._energy_j = rng.uniform(1e8, 5e9)
        self._ecc_corrected = rng.randrange(40, 400) if fault is Fault.ECC else 0
        self._is_slowed = False
        self._slices = self._cut() if fault is Fault.MIG else []
        full_load_c = 101.0 if fault is Fault.HOT else model.full_load_c + rng.uniform(-3, 3)
        self._c_per_w = (full_load_c - ROOM_C) / model.power_limit_w

    @property
    def inventory(self) -> GpuInventory:
        """What does not change about the card."""
        return GpuInventory(
            uuid=self.uuid,
            index=self.index,
            name=self.model.name,
            memory_total_bytes=self.model.memory_bytes,
            power_limit_w=self.model.power_limit_w,
            pci_bus_id=self._pci_bus_id,
            serial=self._serial,
            vbios="96.00.89.00.01",
            mig=self.fault is Fault.MIG,
        )

    def read(self, now: float, jobs: Sequence[Job], setting: ProcessSetting) -> GpuReading:
        """Return the card's readings with these jobs on it."""
        model = self.model
        elapsed = max(0.0, now - self._time) if self._time is not None else 600.0
        self._time = now
        wanted_w = self._move(now, elapsed, jobs)
        is_busy = self._load > 1.0
        processes = [self._process(job, now, setting) for job in jobs]
        used = min(_RESERVED_BYTES + sum(process.memory_bytes or 0 for process in processes), model.memory_bytes)
        rx = self._load / 100 * 2.4e9 * self._rng.uniform(0.6, 1.1)
        nvlink = self._load / 100 * model.nvlink_bytes_per_s * 0.35 if any(len(job.pids) > 1 for job in jobs) else 0.0
        is_mig = bool(self._slices)
        sm, tensor, dram = self._activity(self._load, jobs)
        return GpuReading(
            uuid=self.uuid,
            index=self.index,
            name=model.name,
            temperature_c=round(self._temperature_c),
            memory_temperature_c=round(self._temperature_c + 6 + self._load / 20) if model.nvlink_bytes_per_s else None,
            utilization_percent=None if is_mig else round(self._load),
            memory_utilization_percent=None if is_mig else round(self._load * 0.42),
            sm_percent=sm,
            tensor_percent=tensor,
            dram_percent=dram,
            memory_used_bytes=used,
            memory_total_bytes=model.memory_bytes,
            power_w=round(self._power_w, 1),
            power_limit_w=model.power_limit_w,
            energy_j=round(self._energy_j, 1),
            fan_percent=max(0, min(100, round((self._temperature_c - 35) * 1.8))) if model.has_fan else None,
            sm_clock_mhz=self._clock_mhz(is_busy, wanted_w),
            memory_clock_mhz=model.memory_clock_mhz if is_busy or model.idle_state == 0 else 405,
            performance_state=0 if is_busy else model.idle_state,
            throttle_reasons=self._throttle_reasons(is_busy, wanted_w),
            encoder_percent=round(max((job.kind.decoder_percent * 0.7 for job in jobs), default=0)),
            decoder_percent=max((job.kind.decoder_percent for job in jobs), default=0),
            pcie_generation=model.pcie_generation if is_busy else 1,
            pcie_width=16,
            pcie_rx_bytes_per_s=round(rx),
            pcie_tx_bytes_per_s=round(rx * 0.3),
            nvlink_rx_bytes_per_s=round(nvlink) if model.nvlink_bytes_per_s else None,
            nvlink_tx_bytes_per_s=round(nvlink * 0.98) if model.nvlink_bytes_per_s else None,
            ecc_corrected=self._ecc_corrected if model.has_ecc else None,
            ecc_uncorrected=self.ecc_uncorrected if model.has_ecc else None,
            last_xid=self.last_xid,
            mig_devices=self._filled_slices(now, jobs, processes),
            processes=processes,
        )

    def _move(self, now: float, elapsed: float, jobs: Sequence[Job]) -> float:
        """Let time pass; return the power that the card would draw without its limit."""
        model = self.model
        target = min(100.0, sum(job.utilization(now) for job in jobs))
        self._load += (target - self._load) * (1 - math.exp(-elapsed / LOAD_TIME_S))
        intensity = max((job.kind.intensity for job in jobs), default=0.0)
        share = self._load / 100 * intensity * self._rng.uniform(0.97, 1.05)
        wanted_w = model.idle_power_w + (model.power_limit_w - model.idle_power_w) * share
        self._power_w = min(wanted_w, model.power_limit_w) * (0.9 if self._is_slowed else 1.0)
        self._energy_j += self._power_w * min(elapsed, 60.0)
        settled_c = ROOM_C + self._power_w * self._c_per_w
        self._temperature_c += (settled_c - self._temperature_c) * (1 - math.exp(-elapsed / THERMAL_TIME_S))
        self._temperature_c = min(self._temperature_c, SLOWDOWN_C + 3)
        self._is_slowed = self._temperature_c >= (RECOVERY_C if self._is_slowed else SLOWDOWN_C)
        if self.fault is Fault.ECC and self._rng.random() < elapsed / 40:
            self._ecc_corrected += self._rng.randrange(1, 4)
        return wanted_w

    def _clock_mhz(self, is_busy: bool, wanted_w: float) -> int:  # noqa: FBT001
        if not is_busy:
            return self.model.idle_clock_mhz
        clock = self.model.boost_clock_mhz * (0.68 if self._is_slowed else 1.0)
        if wanted_w > self.model.power_limit_w:
            clock *= self.model.power_limit_w / wanted_w
        return round(clock / 15) * 15  # clocks move in steps of 15 MHz

    def _throttle_reasons(self, is_busy: bool, wanted_w: float) -> list[str]:  # noqa: FBT001
        if not is_busy:
            return ["gpu_idle"]
        reasons = ["sw_power_cap"] if wanted_w > self.model.power_limit_w else []
        if self._temperature_c >= RECOVERY_C:
            reasons.append("sw_thermal_slowdown")
        if self._is_slowed:
            reasons += ["hw_slowdown", "hw_thermal_slowdown"]
        return reasons

    def _activity(self, load: float, jobs: Sequence[Job]) -> tuple[float | None, float | None, float | None]:
        """Return how busy SMs, tensor cores and memory are: the more so, the more power the work takes."""
        if not self.model.has_gpm:
            return None, None, None
        intensity = max((job.kind.intensity for job in jobs), default=0.0)
        sm = load * (0.4 + 0.45 * intensity)
        return round(sm, 1), round(sm * 0.6 * intensity, 1), round(load * 0.42, 1)

    def _process(self, job: Job, now: float, setting: ProcessSetting) -> Process:
        argv = job.command.split()
        pid = job.pids[self.index]
        return Process(
            pid=pid,
            user=job.user,
            name=argv[0],
            command=shown_command(argv, setting),
            container=job.container,
            memory_bytes=job.memory(now, self._slice_bytes(pid)),
            sm_percent=None if self._slices else round(job.utilization(now)),
            mig_uuid=self._slice_of(pid).uuid if self._slices else None,
        )

    def _cut(self) -> list[MigDevice]:
        return [
            MigDevice(
                uuid=_uuid("MIG", self._rng),
                gpu_instance=place + 1,
                compute_instance=0,
                profile=profile,
                memory_used_bytes=0,
                memory_total_bytes=gib * GIB,
            )
            for place, (_, profile, gib) in enumerate(_MIG_SLICES)
        ]

    def _slice_of(self, pid: int) -> MigDevice:
        return self._slices[pid % len(self._slices)]

    def _slice_bytes(self, pid: int) -> int:
        return (self._slice_of(pid).memory_total_bytes or 0) if self._slices else self.model.memory_bytes

    def _filled_slices(self, now: float, jobs: Sequence[Job], processes: list[Process]) -> list[MigDevice]:
        return [self._filled_slice(each, now, jobs, processes) for each in self._slices]

    def _filled_slice(self, empty: MigDevice, now: float, jobs: Sequence[Job], processes: list[Process]) -> MigDevice:
        within = [job for job in jobs if self._slice_of(job.pids[self.index]).uuid == empty.uuid]
        used = sum(process.memory_bytes or 0 for process in processes if process.mig_uuid == empty.uuid)
        sm, tensor, dram = self._activity(min(100.0, sum(job.utilization(now) for job in within)), within)
        return msgspec.structs.replace(
            empty,
            memory_used_bytes=min(used, empty.memory_total_bytes or 0),
            sm_percent=sm,
            tensor_percent=tensor,
            dram_percent=dram,
        )


def _uuid(prefix: str, rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{prefix}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
