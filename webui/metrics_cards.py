"""What is served of each card, under the names, labels and units of NVIDIA's dcgm-exporter, and what it has not.

Names and help are those of its `default-counters.csv`, and of DCGM's fields (`dcgm_fields.h`) where the exporter leaves
a field out by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gpumon.messages import GpuInventory, GpuReading, MigDevice
from master.worker import Worker
from webui.metrics_text import LARGEST, Family, labels_text

# NVML's `nvmlClocksEventReasons`, which DCGM passes on, by the names that samples have for them.
EVENT_REASONS = {
    "gpu_idle": 0x1,
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "display_clock_setting": 0x100,
}
NO_XID = 0
# No index, instance or XID is larger: what is, is no such number, and is left out of labels.
LARGEST_NUMBER = 2**31
# nvidia-smi tells of no XIDs, so there is nothing to say of them.
_XID_SOURCES = ("nvml", "simulated")


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it was read last, with the labels of its series and the worker's source."""

    labels: str
    reading: GpuReading
    source: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a card, or of a slice that MIG has cut off it."""

    used_bytes: int | None
    total_bytes: int | None


def _mebibytes(value: int | None) -> int | None:
    return None if value is None else value >> 20


def _free(memory: Memory) -> int | None:
    if memory.used_bytes is None or memory.total_bytes is None:
        return None
    return max(memory.total_bytes - memory.used_bytes, 0) >> 20


def _millijoules(reading: GpuReading) -> int | None:
    if reading.energy_j is None or not abs(reading.energy_j) < LARGEST:
        return None
    return round(reading.energy_j * 1000)


def _ratio(percent: float | None) -> float | None:
    """Return 0 to 1, as DCGM has what comes of profiling."""
    return None if percent is None else round(percent / 100, 4)


def _event_reasons(reading: GpuReading) -> int | None:
    if reading.throttle_reasons is None:
        return None
    return sum(EVENT_REASONS.get(name, 0) for name in set(reading.throttle_reasons))


READINGS: tuple[Family[GpuReading], ...] = (
    Family("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", lambda gpu: gpu.sm_clock_mhz),
    Family("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", lambda gpu: gpu.memory_clock_mhz),
    Family("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", lambda gpu: gpu.memory_temperature_c),
    Family("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", lambda gpu: gpu.temperature_c),
    Family("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", lambda gpu: gpu.power_w),
    Family("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "gauge", "Power limit in force (in W).", lambda gpu: gpu.power_limit_w),
    Family(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", _millijoules
    ),
    Family("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", lambda gpu: gpu.utilization_percent),
    Family(
        "DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", lambda gpu: gpu.memory_utilization_percent
    ),
    Family("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", lambda gpu: gpu.encoder_percent),
    Family("DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", lambda gpu: gpu.decoder_percent),
    Family("DCGM_FI_DEV_FAN_SPEED", "gauge", "Fan speed (in %).", lambda gpu: gpu.fan_percent),
    Family("DCGM_FI_DEV_PSTATE", "gauge", "Performance state (0 is the fastest).", lambda gpu: gpu.performance_state),
    Family(
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        "gauge",
        "Why the clocks are lower than they could be, as bits of nvmlClocksEventReasons.",
        _event_reasons,
    ),
    Family("DCGM_FI_DEV_PCIE_LINK_GEN", "gauge", "PCIe generation in use.", lambda gpu: gpu.pcie_generation),
    Family("DCGM_FI_DEV_PCIE_LINK_WIDTH", "gauge", "PCIe lanes in use.", lambda gpu: gpu.pcie_width),
    Family(
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        "gauge",
        "Sent over PCIe (in bytes per second).",
        lambda gpu: gpu.pcie_tx_bytes_per_s,
    ),
    Family(
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        "gauge",
        "Received over PCIe (in bytes per second).",
        lambda gpu: gpu.pcie_rx_bytes_per_s,
    ),
    Family(
        "DCGM_FI_PROF_NVLINK_TX_BYTES",
        "gauge",
        "Sent over NVLink (in bytes per second).",
        lambda gpu: gpu.nvlink_tx_bytes_per_s,
    ),
    Family(
        "DCGM_FI_PROF_NVLINK_RX_BYTES",
        "gauge",
        "Received over NVLink (in bytes per second).",
        lambda gpu: gpu.nvlink_rx_bytes_per_s,
    ),
    Family(
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
        "counter",
        "Total number of single-bit volatile ECC errors.",
        lambda gpu: gpu.ecc_corrected,
    ),
    Family(
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "counter",
        "Total number of double-bit volatile ECC errors.",
        lambda gpu: gpu.ecc_uncorrected,
    ),
    Family(
        "gpumon_gpu_up",
        "gauge",
        "1 while the card answers or sleeps, 0 where it is lost or cannot be read.",
        lambda gpu: int(gpu.state in ("ok", "asleep")),
    ),
    Family(
        "gpumon_gpu_processes",
        "gauge",
        "Processes that hold memory on the card.",
        lambda gpu: len(gpu.processes) if gpu.state == "ok" else None,
    ),
)
MEMORY: tuple[Family[Memory], ...] = (
    Family(
        "DCGM_FI_DEV_FB_TOTAL",
        "gauge",
        "Framebuffer memory in all (in MiB).",
        lambda memory: _mebibytes(memory.total_bytes),
    ),
    Family("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", _free),
    Family(
        "DCGM_FI_DEV_FB_USED",
        "gauge",
        "Framebuffer memory used (in MiB).",
        lambda memory: _mebibytes(memory.used_bytes),
    ),
)
ACTIVITY: tuple[Family[GpuReading | MigDevice], ...] = (
    Family(
        "DCGM_FI_PROF_SM_ACTIVE",
        "gauge",
        "SMs that had work, on average (0 to 1).",
        lambda measured: _ratio(measured.sm_percent),
    ),
    Family(
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "gauge",
        "Time in which the tensor cores were at work (0 to 1).",
        lambda measured: _ratio(measured.tensor_percent),
    ),
    Family(
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "gauge",
        "Memory bandwidth in use (0 to 1).",
        lambda measured: _ratio(measured.dram_percent),
    ),
)
XID: Family[int] = Family(
    "DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", lambda xid: xid
)


def cards_of(worker: Worker) -> Iterator[Card]:
    """Return the worker's cards as they were read last, each once."""
    if worker.metrics is None:
        return
    inventory = {gpu.uuid: gpu for gpu in worker.info.gpus} if worker.info is not None else {}
    hostname = worker.info.hostname if worker.info is not None else None
    seen = set()
    for reading in worker.metrics.gpus:
        if reading.uuid not in seen:
            seen.add(reading.uuid)
            labels = _labels(reading, inventory.get(reading.uuid), hostname, worker.id)
            yield Card(labels, reading, worker.metrics.source)


def card_texts(cards: Sequence[Card]) -> Iterator[str]:
    """Return each family with the series of all cards."""
    read = [(card.labels, card.reading) for card in cards]
    for family in READINGS:
        yield family.text(read)
    memory = [series for card in cards for series in _memory(card)]
    for of_memory in MEMORY:
        yield of_memory.text(memory)
    activity = [series for card in cards for series in _activity(card)]
    for of_activity in ACTIVITY:
        yield of_activity.text(activity)
    yield XID.text(_xids(cards))


def _labels(reading: GpuReading, inventory: GpuInventory | None, hostname: str | None, worker_id: str) -> str:
    index, name, bus_id = reading.index, reading.name, None
    if inventory is not None:
        index = inventory.index if index is None else index
        name = name or inventory.name
        bus_id = inventory.pci_bus_id
    if index is not None and index > LARGEST_NUMBER:
        index = None
    return labels_text(
        {
            "gpu": index,
            "UUID": reading.uuid,
            "pci_bus_id": None if bus_id is None else _nvml_bus_id(bus_id),
            "device": None if index is None else f"nvidia{index}",
            "modelName": name,
            "Hostname": hostname,
            "instance": worker_id,
        }
    )


def _nvml_bus_id(bus_id: str) -> str:
    """Return it with a domain of eight digits, as NVML writes it (`nvmlPciInfo_t.busId`), and so DCGM."""
    domain, colon, rest = bus_id.partition(":")
    return f"{domain:0>8}{colon}{rest}"


def _memory(card: Card) -> Iterator[tuple[str, Memory]]:
    """Return the memory of a card's slices where it is cut, so that a sum over all series counts nothing twice."""
    slices = _slices(card, lambda device: device.memory_used_bytes is not None)
    if not slices:
        yield card.labels, Memory(card.reading.memory_used_bytes, card.reading.memory_total_bytes)
    for labels, device in slices:
        yield labels, Memory(device.memory_used_bytes, device.memory_total_bytes)


def _activity(card: Card) -> Sequence[tuple[str, GpuReading | MigDevice]]:
    """Return what tells how busy a card's slices are where it is cut, otherwise the card."""
    return _slices(card, lambda device: device.sm_percent is not None) or [(card.labels, card.reading)]


def _slices(card: Card, is_measured: Callable[[MigDevice], bool]) -> list[tuple[str, MigDevice]]:
    """Return a card's GPU instances, each once, with their labels."""
    if not card.reading.mig_devices:
        return []
    slices = {
        device.gpu_instance: device
        for device in reversed(card.reading.mig_devices)
        if device.gpu_instance is not None and device.gpu_instance <= LARGEST_NUMBER and is_measured(device)
    }
    return [
        (f"{card.labels},{labels_text({'GPU_I_PROFILE': device.profile, 'GPU_I_ID': number})}", device)
        for number, device in sorted(slices.items())
    ]


def _xids(cards: Sequence[Card]) -> Iterator[tuple[str, int]]:
    for card in cards:
        xid = card.reading.last_xid
        if xid is None and card.reading.state == "ok" and card.source in _XID_SOURCES:
            xid = NO_XID
        if xid is not None and xid <= LARGEST_NUMBER:
            yield f'{card.labels},err_code="{xid}"', xid
