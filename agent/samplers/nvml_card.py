"""One GPU read through NVML: what it is, and how it is doing."""

from __future__ import annotations

from typing import Any

import msgspec
import pynvml

from agent.nvml import UINT_NOT_AVAILABLE, Nvml, NvmlDevice
from agent.processes import ProcessTable
from agent.samplers.gpm import NOT_MEASURED, Activity, GpmMeter
from agent.samplers.mig import MigReader, MigSlice, read_memory
from agent.samplers.nvml_processes import ProcessReader
from agent.samplers.pcie import Throughput
from agent.samplers.rates import Rate
from gpumon.messages import GpuInventory, GpuReading, MigDevice

THROTTLE_REASONS = {
    pynvml.nvmlClocksThrottleReasonGpuIdle: "gpu_idle",
    pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting: "applications_clocks_setting",
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksThrottleReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "sw_thermal_slowdown",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "hw_thermal_slowdown",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "hw_power_brake_slowdown",
    pynvml.nvmlClocksThrottleReasonDisplayClockSetting: "display_clock_setting",
}
"""NVML's `nvmlClocksEventReasons`, by bit (called throttle reasons before driver 535)."""

# Read with one call. ECC errors are the volatile ones, counted since the driver was loaded, as in nvidia-smi's table:
# they tell of the present, while the aggregate ones keep an error of years ago for the GPU's whole life.
_MEMORY_TEMPERATURE = pynvml.NVML_FI_DEV_MEMORY_TEMP
_ENERGY_MJ = pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
_ECC_CORRECTED = pynvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL
_ECC_UNCORRECTED = pynvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL
# With this scope NVML adds up all links (nvml.h); in KiB, without the protocol's overhead.
_NVLINK_RX_KIB = (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, UINT_NOT_AVAILABLE)
_NVLINK_TX_KIB = (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, UINT_NOT_AVAILABLE)
_FIELDS = (_MEMORY_TEMPERATURE, _ENERGY_MJ, _ECC_CORRECTED, _ECC_UNCORRECTED, _NVLINK_RX_KIB, _NVLINK_TX_KIB)

_PERFORMANCE_STATES = 16  # P0 to P15; above is NVML_PSTATE_UNKNOWN


class NvmlCard:
    """One GPU that NVML has given a handle for."""

    def __init__(self, nvml: Nvml, device: NvmlDevice, inventory: GpuInventory, table: ProcessTable) -> None:
        self.device = device
        self.index = inventory.index
        self.inventory = inventory
        self.uuid = inventory.uuid
        self._mig = MigReader(nvml, device)
        self._processes = ProcessReader(device, table)
        self._gpm = GpmMeter(nvml, device)
        self._nvlink_rx = Rate()
        self._nvlink_tx = Rate()

    @property
    def place(self) -> str:
        """Where the card is, as a message to people names it."""
        return self.device.place

    def read(self, now_s: float, pcie: Throughput, last_xid: int | None) -> GpuReading:
        """Read everything once; `now_s` is monotonic. A GPU that gives an unexpected error gets the state `error`.

        Raises GpuLostError, NvmlDeadError.
        """
        device = self.device
        device.problem = None
        mig = self._mig.enabled()
        if mig != self.inventory.mig:
            device.forget_absent()
            self._gpm.release()
            self.inventory = inventory_of(device, self.index, mig=mig) or self.inventory
        slices = self._mig.read() if mig else None
        fields = device.fields(_FIELDS)
        used, total = read_memory(device)
        temperature = _temperature(device)
        utilization = device.query(pynvml.nvmlDeviceGetUtilizationRates)
        energy_mj = fields[_ENERGY_MJ]
        activity, of_slices = self._gpm.read(now_s, slices)
        return GpuReading(
            uuid=self.uuid,
            index=self.index,
            name=self.inventory.name,
            temperature_c=temperature,
            memory_temperature_c=fields[_MEMORY_TEMPERATURE],
            utilization_percent=None if utilization is None else _percent(utilization.gpu),
            memory_utilization_percent=None if utilization is None else _percent(utilization.memory),
            sm_percent=activity.sm_percent,
            tensor_percent=activity.tensor_percent,
            dram_percent=activity.dram_percent,
            memory_used_bytes=used,
            memory_total_bytes=total,
            power_w=_thousandth(device.query(pynvml.nvmlDeviceGetPowerUsage)),
            power_limit_w=_power_limit_w(device),
            energy_j=_thousandth(energy_mj),
            fan_percent=device.query(pynvml.nvmlDeviceGetFanSpeed),
            sm_clock_mhz=device.query(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
            memory_clock_mhz=device.query(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
            performance_state=_performance_state(device),
            throttle_reasons=_throttle_reasons(device),
            encoder_percent=_codec_percent(device.query(pynvml.nvmlDeviceGetEncoderUtilization)),
            decoder_percent=_codec_percent(device.query(pynvml.nvmlDeviceGetDecoderUtilization)),
            pcie_generation=device.query(pynvml.nvmlDeviceGetCurrPcieLinkGeneration),
            pcie_width=device.query(pynvml.nvmlDeviceGetCurrPcieLinkWidth),
            pcie_rx_bytes_per_s=pcie[0],
            pcie_tx_bytes_per_s=pcie[1],
            nvlink_rx_bytes_per_s=self._nvlink_rx.per_second(_kibibytes(fields[_NVLINK_RX_KIB]), now_s),
            nvlink_tx_bytes_per_s=self._nvlink_tx.per_second(_kibibytes(fields[_NVLINK_TX_KIB]), now_s),
            ecc_corrected=fields[_ECC_CORRECTED],
            ecc_uncorrected=fields[_ECC_UNCORRECTED],
            last_xid=last_xid,
            mig_devices=[_with_activity(mig, of_slices.get(mig.reading.uuid, NOT_MEASURED)) for mig in slices or ()],
            processes=self._processes.read(slices),
            # the last of all, since the readings before it find out
            state="ok" if device.problem is None else "error",
        )

    def release(self) -> None:
        """Give back what NVML has allocated for it; safe to call twice, and reading it afterwards allocates it anew."""
        self._gpm.release()

    def not_read(self, state: Any, last_xid: int | None = None) -> GpuReading:
        """Return the reading of a GPU that is not asked, or does not answer."""
        self.release()
        index = None if state == "lost" else self.index
        return GpuReading(uuid=self.uuid, index=index, name=self.inventory.name, state=state, last_xid=last_xid)


def inventory_of(device: NvmlDevice, index: int | None, *, mig: bool | None) -> GpuInventory | None:
    """Return what does not change about a GPU; None for one that does not even tell its uuid.

    Raises GpuLostError, NvmlDeadError.
    """
    uuid = device.require(pynvml.nvmlDeviceGetUUID)
    if uuid is None:
        return None
    return GpuInventory(
        uuid=uuid,
        index=index,
        name=device.query(pynvml.nvmlDeviceGetName),
        memory_total_bytes=read_memory(device)[1],
        power_limit_w=_power_limit_w(device),
        pci_bus_id=_pci_bus_id(device),
        serial=device.query(pynvml.nvmlDeviceGetSerial),
        vbios=device.query(pynvml.nvmlDeviceGetVbiosVersion),
        mig=mig,
    )


def open_card(nvml: Nvml, handle: Any, place: str, index: int | None, table: ProcessTable) -> NvmlCard | None:
    """Return the GPU behind a handle; None for one that does not even tell its uuid. `place` names it until it does.

    Raises GpuLostError, NvmlDeadError.
    """
    device = nvml.device(handle, place)
    inventory = inventory_of(device, index, mig=MigReader(nvml, device).enabled())
    if inventory is None:
        return None
    device.place = f"the GPU at {inventory.pci_bus_id or inventory.uuid}"
    return NvmlCard(nvml, device, inventory, table)


def _with_activity(mig: MigSlice, activity: Activity) -> MigDevice:
    if activity is NOT_MEASURED:
        return mig.reading
    return msgspec.structs.replace(
        mig.reading,
        sm_percent=activity.sm_percent,
        tensor_percent=activity.tensor_percent,
        dram_percent=activity.dram_percent,
    )


def _pci_bus_id(device: NvmlDevice) -> str | None:
    info = device.query(pynvml.nvmlDeviceGetPciInfo_v3)
    if info is None:
        return None
    # A GPU is always function 0 of its card; NVML's own text has a domain of eight digits.
    return f"{info.domain:04X}:{info.bus:02X}:{info.device:02X}.0"


def _temperature(device: NvmlDevice) -> int | None:
    temperature = device.require(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU)
    if temperature is None and hasattr(pynvml, "nvmlDeviceGetTemperatureV"):
        # NVIDIA has announced that the older function goes away with CUDA 14
        temperature = device.query(pynvml.nvmlDeviceGetTemperatureV, pynvml.NVML_TEMPERATURE_GPU)
    return None if temperature is None else int(temperature)


def _power_limit_w(device: NvmlDevice) -> float | None:
    """Return the limit that is in force, the lowest of all that are set."""
    limit_mw = device.query(pynvml.nvmlDeviceGetEnforcedPowerLimit)
    if limit_mw is None:
        limit_mw = device.query(pynvml.nvmlDeviceGetPowerManagementLimit)
    return _thousandth(limit_mw)


def _performance_state(device: NvmlDevice) -> int | None:
    state = device.query(pynvml.nvmlDeviceGetPerformanceState)
    return state if state is not None and 0 <= state < _PERFORMANCE_STATES else None


def _throttle_reasons(device: NvmlDevice) -> list[str] | None:
    reasons = device.query(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
    if reasons is None:
        reasons = device.query(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
    return None if reasons is None else [name for bit, name in THROTTLE_REASONS.items() if reasons & bit]


def _codec_percent(answer: list[int] | None) -> int | None:
    return None if answer is None else _percent(answer[0])


def _percent(value: int) -> int | None:
    return value if 0 <= value <= 100 else None


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _kibibytes(value: int | None) -> int | None:
    return None if value is None else value * 1024
