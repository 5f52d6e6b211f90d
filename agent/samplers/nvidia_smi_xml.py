"""What `nvidia-smi -q -x` prints, made into readings: the tags of driver generations from 418 to 595.

The values are texts with units; what is not there is `N/A`, `[N/A]`, `Requested functionality has been deprecated`,
or an error's text in the value's place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree  # nosec B405 # reads what the driver's own program writes, without a DOCTYPE
from xml.etree.ElementTree import Element  # nosec B405 # a type
from xml.sax.saxutils import escape, unescape  # nosec B406 # no parser

from agent.processes import ProcessTable
from agent.samplers.base import Inventory, SamplerError
from gpumon.messages import GpuInventory, GpuReading, MigDevice, Process

MEBIBYTE = 1024 * 1024
_LOST = re.compile(r"GPU (is|has been) lost|GPU is not accessible", re.IGNORECASE)
_FAULT = re.compile(r"Unknown Error|ERR!|requires (restart|reset)", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*(-?\d{1,12}(?:\.\d+)?)(?:[x%\s]|$)")
_ABSENT = frozenset({"", "N/A", "NONE", "UNKNOWN"})
# Spelt otherwise than in NVML, whose names are the contract's.
_REASON_NAMES = {"display_clocks_setting": "display_clock_setting"}
# A process names itself: what is between the tags may be anything, tags among it.
_PROCESS_NAME = re.compile(r"(?<=<process_name>).*(?=</process_name>)")
_QUOTES = {"&quot;": '"', "&apos;": "'"}
_NOT_IN_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

MAX_PROCESSES = 4096
"""The contract's bound of a reading; those with the most memory are kept."""

MigName = tuple[str, str | None]
"""A MIG device's uuid and profile."""


@dataclass(slots=True)
class Report:
    """One run of nvidia-smi; `problems` says which cards could not be read."""

    inventory: Inventory
    gpus: list[GpuReading]
    problems: list[str] = field(default_factory=list)


def parse(output: str) -> Element:
    """Return the XML in the output of nvidia-smi, which may have lines about lost cards before, within or behind it.

    Raises SamplerError: when there is none.
    """
    begin, end = output.find("<nvidia_smi_log>"), output.rfind("</nvidia_smi_log>")
    if begin < 0 or end < 0:
        line = next((line.strip() for line in output.splitlines() if line.strip()), "nothing")
        raise SamplerError(f"nvidia-smi -q -x answered with no XML but: {line[:200]}")
    xml = _NOT_IN_XML.sub("\ufffd", output[begin:end] + "</nvidia_smi_log>")
    xml = _PROCESS_NAME.sub(lambda name: escape(unescape(name[0], _QUOTES)), xml)
    try:
        # The driver's own program; what may define entities, the DOCTYPE, has been cut off above.
        return ElementTree.fromstring(xml)  # noqa: S314  # nosec B314
    except ElementTree.ParseError:
        pass
    kept = [line for line in xml.splitlines() if line.lstrip()[:1] in ("<", "") or line.rstrip().endswith(">")]
    try:
        return ElementTree.fromstring("\n".join(kept))  # noqa: S314 - as above  # nosec B314
    except ElementTree.ParseError as error:
        raise SamplerError(f"nvidia-smi -q -x answered with XML that cannot be read: {error}") from error


def has_mig_devices(root: Element) -> bool:
    """Tell whether there are MIG devices, whose uuids and profiles `nvidia-smi -L` alone tells."""
    return root.find("gpu/mig_devices/mig_device") is not None


def mig_names(listing: str) -> dict[tuple[str, int], MigName]:
    """Return uuid and profile of each MIG device in the output of `nvidia-smi -L`, by its GPU's uuid and its index."""
    names: dict[tuple[str, int], MigName] = {}
    gpu = ""
    for line in listing.splitlines():
        if found := re.search(r"\(UUID: (GPU-[^)]+)\)", line):
            gpu = found[1]
        elif found := re.search(r"MIG\s+(\S+)\s+Device\s+(\d+):\s+\(UUID: (MIG-[^)]+)\)", line):
            names[gpu, int(found[2])] = (found[3], found[1])
    return names


def report(root: Element, table: ProcessTable, names: dict[tuple[str, int], MigName]) -> Report:
    """Return the readings in an answer of nvidia-smi; a card that does not even tell its uuid becomes a problem."""
    result = Report(Inventory(()), [])
    inventories = []
    for index, gpu in enumerate(root.findall("gpu")):
        uuid = _text(gpu, "uuid")
        place = _place(gpu.get("id", "")) or f"GPU {index}"
        if uuid is None or not uuid.startswith("GPU-"):
            result.problems.append(f"{place}: {_any_text(gpu, _LOST) or _any_text(gpu, _FAULT) or 'does not answer'}")
            continue
        inventory = _inventory(gpu, uuid, index)
        reading = _reading(gpu, inventory, table, names)
        if reading.state != "ok":
            result.problems.append(f"{place}: {_any_text(gpu, _LOST) or _any_text(gpu, _FAULT)}")
        if reading.state != "lost":
            inventories.append(inventory)
        result.gpus.append(reading)
    result.inventory = Inventory(tuple(inventories), _text(root, "driver_version"), _text(root, "cuda_version"))
    return result


def _inventory(gpu: Element, uuid: str, index: int) -> GpuInventory:
    mig = _text(gpu, "mig_mode/current_mig")
    return GpuInventory(
        uuid=uuid,
        index=index,
        name=_text(gpu, "product_name"),
        memory_total_bytes=_mebibytes(gpu, "fb_memory_usage/total"),
        power_limit_w=_power(gpu, "enforced_power_limit", "current_power_limit", "power_limit"),
        pci_bus_id=_place(_text(gpu, "pci/pci_bus_id") or gpu.get("id") or ""),
        serial=_text(gpu, "serial"),
        vbios=_text(gpu, "vbios_version"),
        mig=None if mig is None else mig == "Enabled",
    )


def _reading(
    gpu: Element, inventory: GpuInventory, table: ProcessTable, names: dict[tuple[str, int], MigName]
) -> GpuReading:
    temperature = gpu.findtext("temperature/gpu_temp", "") + gpu.findtext("fb_memory_usage/total", "")
    if _LOST.search(temperature):
        return GpuReading(uuid=inventory.uuid, name=inventory.name, state="lost")
    mig_devices = _mig_devices(gpu, inventory.uuid, names)
    state = gpu.findtext("performance_state", "").strip()
    return GpuReading(
        uuid=inventory.uuid,
        index=inventory.index,
        name=inventory.name,
        state="error" if _FAULT.search(temperature) else "ok",
        temperature_c=_number(gpu, "temperature/gpu_temp"),
        memory_temperature_c=_number(gpu, "temperature/memory_temp"),
        utilization_percent=_percent(gpu, "utilization/gpu_util"),
        memory_utilization_percent=_percent(gpu, "utilization/memory_util"),
        memory_used_bytes=_mebibytes(gpu, "fb_memory_usage/used"),
        memory_total_bytes=inventory.memory_total_bytes,
        power_w=_power(gpu, "power_draw", "average_power_draw", "instant_power_draw"),
        power_limit_w=inventory.power_limit_w,
        fan_percent=_count(gpu, "fan_speed"),
        sm_clock_mhz=_count(gpu, "clocks/sm_clock"),
        memory_clock_mhz=_count(gpu, "clocks/mem_clock"),
        performance_state=int(state[1:]) if re.fullmatch(r"P\d+", state) else None,
        throttle_reasons=_throttle_reasons(gpu),
        encoder_percent=_percent(gpu, "utilization/encoder_util"),
        decoder_percent=_percent(gpu, "utilization/decoder_util"),
        pcie_generation=_count(gpu, "pci/pci_gpu_link_info/pcie_gen/current_link_gen"),
        pcie_width=_count(gpu, "pci/pci_gpu_link_info/link_widths/current_link_width"),
        pcie_rx_bytes_per_s=_kilobytes(gpu, "pci/rx_util"),
        pcie_tx_bytes_per_s=_kilobytes(gpu, "pci/tx_util"),
        ecc_corrected=_ecc(gpu, "single_bit/total", "sram_correctable", "dram_correctable"),
        ecc_uncorrected=_ecc(
            gpu,
            "double_bit/total",
            "sram_uncorrectable",
            "sram_uncorrectable_parity",
            "sram_uncorrectable_secded",
            "dram_uncorrectable",
        ),
        mig_devices=[device for _, device in mig_devices],
        processes=_processes(gpu, table, {instances: device.uuid for instances, device in mig_devices}),
    )


def _mig_devices(
    gpu: Element, uuid: str, names: dict[tuple[str, int], MigName]
) -> list[tuple[tuple[int | None, int | None], MigDevice]]:
    devices = []
    for element in gpu.findall("mig_devices/mig_device"):
        name = names.get((uuid, _count(element, "index") or 0))
        gpu_instance, compute_instance = _count(element, "gpu_instance_id"), _count(element, "compute_instance_id")
        if name is None:
            # Without a uuid of its own a slice is still told apart, by where it is.
            name = f"MIG-{uuid}/{gpu_instance}/{compute_instance}", None
        device = MigDevice(
            uuid=name[0],
            gpu_instance=gpu_instance,
            compute_instance=compute_instance,
            profile=name[1],
            memory_used_bytes=_mebibytes(element, "fb_memory_usage/used"),
            memory_total_bytes=_mebibytes(element, "fb_memory_usage/total"),
        )
        devices.append(((gpu_instance, compute_instance), device))
    return devices


def _processes(gpu: Element, table: ProcessTable, mig_uuids: dict[tuple[int | None, int | None], str]) -> list[Process]:
    processes: dict[tuple[int, str | None], Process] = {}
    for element in gpu.findall("processes/process_info"):
        pid = _count(element, "pid")
        if pid is None:
            continue
        details = table.describe(pid)
        instances = _count(element, "gpu_instance_id"), _count(element, "compute_instance_id")
        mig_uuid = mig_uuids.get(instances)
        is_compute = "C" in element.findtext("type", "C")
        if (pid, mig_uuid) in processes and not is_compute:
            continue
        program = (_text(element, "process_name") or "").split(" ")[0].rpartition("/")[2]
        processes[pid, mig_uuid] = Process(
            pid=pid,
            user=details.user,
            name=details.name or program[:256] or None,
            command=details.command,
            container=details.container,
            memory_bytes=_mebibytes(element, "used_memory"),
            type="compute" if is_compute else "graphics",
            mig_uuid=mig_uuid,
        )
    kept = sorted(processes.values(), key=lambda process: process.memory_bytes or 0, reverse=True)[:MAX_PROCESSES]
    return sorted(kept, key=lambda process: process.pid)


def _throttle_reasons(gpu: Element) -> list[str] | None:
    reasons = gpu.find("clocks_event_reasons")
    if reasons is None:
        reasons = gpu.find("clocks_throttle_reasons")
    if reasons is None:
        return None
    answers = {element.tag.partition("_reason_")[2]: (element.text or "").strip() for element in reasons}
    if not {"Active", "Not Active"} & set(answers.values()):
        return None
    return [_REASON_NAMES.get(name, name) for name, answer in answers.items() if name and answer == "Active"]


def _ecc(gpu: Element, *tags: str) -> int | None:
    """Return the sum of the volatile counts that there are: generations divide them differently.

    They count from when the driver was loaded, as what NVML's sampler reads (`NVML_FI_DEV_ECC_..._VOL_TOTAL`).
    """
    counts = [_count(gpu, f"ecc_errors/volatile/{tag}") for tag in tags]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _power(gpu: Element, *tags: str) -> float | None:
    for section in ("gpu_power_readings", "power_readings"):
        for tag in tags:
            found = _NUMBER.match(gpu.findtext(f"{section}/{tag}", ""))
            if found:
                return float(found[1])
    return None


def _number(element: Element, path: str) -> int | None:
    found = _NUMBER.match(element.findtext(path, ""))
    return int(float(found[1])) if found else None


def _count(element: Element, path: str) -> int | None:
    value = _number(element, path)
    return None if value is None or value < 0 else value


def _percent(element: Element, path: str) -> int | None:
    value = _number(element, path)
    return value if value is not None and 0 <= value <= 100 else None


def _mebibytes(element: Element, path: str) -> int | None:
    value = _count(element, path)
    return None if value is None else value * MEBIBYTE


def _kilobytes(element: Element, path: str) -> int | None:
    value = _count(element, path)
    return None if value is None else value * 1000  # as NVML's "KB/s" is taken


def _text(element: Element, path: str) -> str | None:
    text = element.findtext(path, "").strip()
    # In brackets stands why there is none: [N/A], [Not Found], [Insufficient Permissions].
    is_absent = text.upper() in _ABSENT or (text.startswith("[") and text.endswith("]")) or "deprecated" in text
    return None if is_absent or _LOST.search(text) or _FAULT.search(text) else text[:256]


def _any_text(element: Element, wanted: re.Pattern[str]) -> str | None:
    return next((text.strip() for text in element.itertext() if wanted.search(text)), None)


def _place(bus_id: str) -> str | None:
    """Return `0000:1B:00.0` for nvidia-smi's `00000000:1B:00.0`."""
    found = re.fullmatch(r"(?:[0-9A-Fa-f]{4})?([0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])", bus_id)
    return found[1].upper() if found else None
