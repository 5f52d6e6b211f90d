"""The slices of a GPU in MIG mode (Multi-Instance GPU), which NVML shows as devices of their own."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import pynvml

from agent.nvml import Nvml, NvmlDevice, available
from gpumon.messages import MigDevice

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MigSlice:
    """A MIG device: the NVML device to ask, and its reading."""

    device: NvmlDevice
    reading: MigDevice


class MigReader:
    """Reads the MIG devices of one GPU; they may be made and removed at any time."""

    def __init__(self, nvml: Nvml, device: NvmlDevice) -> None:
        self._nvml = nvml
        self._device = device
        self._slices: dict[int, MigSlice] = {}

    def enabled(self) -> bool | None:
        """Tell whether MIG is on now; None for a GPU that does not have it. Raises GpuLostError, NvmlDeadError."""
        mode = self._device.query(pynvml.nvmlDeviceGetMigMode)
        return None if mode is None else mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE

    def read(self) -> list[MigSlice]:
        """Read all MIG devices. Raises GpuLostError, NvmlDeadError."""
        known, self._slices = self._slices, {}
        for index in range(self._device.query(pynvml.nvmlDeviceGetMaxMigDeviceCount) or 0):
            handle = self._device.query(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, index)
            if handle is None:
                continue
            address = ctypes.cast(handle, ctypes.c_void_p).value or 0
            before = known.get(address)
            device = before.device if before else self._nvml.device(handle, self._device.place)
            uuid = device.query(pynvml.nvmlDeviceGetUUID)
            if uuid is None:
                continue
            # An address may be used again by another slice: the uuid tells them apart.
            reading = before.reading if before and before.reading.uuid == uuid else _describe(device, uuid)
            used, total = read_memory(device)
            self._slices[address] = MigSlice(device, _with_memory(reading, used, total))
        return list(self._slices.values())


def read_memory(device: NvmlDevice) -> tuple[int | None, int | None]:
    """Return used and total memory in bytes; what the driver keeps for itself does not count as used where it tells.

    `nvmlMemory_v2_t` (driver 510 and later) has it apart as `reserved`; the older structure counts it as used.
    Raises GpuLostError, NvmlDeadError.
    """
    memory = device.query(pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2)
    if memory is None:
        memory = device.require(pynvml.nvmlDeviceGetMemoryInfo)
    return (None, None) if memory is None else (available(memory.used), available(memory.total))


def _describe(device: NvmlDevice, uuid: str) -> MigDevice:
    return MigDevice(
        uuid=uuid,
        gpu_instance=device.query(pynvml.nvmlDeviceGetGpuInstanceId),
        compute_instance=device.query(pynvml.nvmlDeviceGetComputeInstanceId),
        profile=_profile(device),
    )


def _profile(device: NvmlDevice) -> str | None:
    """Return the profile as in the device's name (`NVIDIA H200 MIG 1g.18gb`), else put together from its attributes."""
    _, found, profile = (device.query(pynvml.nvmlDeviceGetName) or "").rpartition(" MIG ")
    if found:
        return str(profile)
    attributes = device.query(pynvml.nvmlDeviceGetAttributes_v2)
    if attributes is None:
        return None
    gpu, compute = attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount
    part = f"{compute}c." if compute != gpu else ""
    return f"{part}{gpu}g.{round(attributes.memorySizeMB / 1024)}gb"


def _with_memory(reading: MigDevice, used: int | None, total: int | None) -> MigDevice:
    return MigDevice(
        uuid=reading.uuid,
        gpu_instance=reading.gpu_instance,
        compute_instance=reading.compute_instance,
        profile=reading.profile,
        memory_used_bytes=used,
        memory_total_bytes=total,
    )
