"""What is published: samples, inventory and events, as frozen classes that validate what they decode.

JSON in UTF-8. Names carry their unit. A reading that the device does not support is None, never 0 and never left out;
unknown fields are ignored. Times are seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from gpumon.errors import InvalidPayloadError

PROTOCOL_VERSION = 1

Source = Literal["nvml", "nvidia-smi", "simulated"]
GpuState = Literal["ok", "lost", "asleep", "error"]
CommandPolicy = Literal["any", "listed", "none"]
EventKind = Literal["xid", "gpu_lost", "gpu_found", "ecc", "health", "command_refused", "joined"]

Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=100)]
Text = Annotated[str, Meta(max_length=1024)]
Label = Annotated[str, Meta(max_length=256)]


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all messages: immutable, fields by name."""


class MigDevice(Message, frozen=True):
    """A slice of a GPU that Multi-Instance GPU has cut off; profiles as NVIDIA names them (`1g.18gb`)."""

    uuid: Label
    gpu_instance: Count | None = None
    compute_instance: Count | None = None
    profile: Label | None = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None
    sm_percent: Share | None = None
    tensor_percent: Share | None = None
    dram_percent: Share | None = None


class Process(Message, frozen=True):
    """A process that holds memory on a GPU."""

    pid: Count
    user: Label | None = None
    name: Label | None = None
    command: Text | None = None
    container: Label | None = None
    memory_bytes: Count | None = None
    type: Literal["compute", "graphics"] = "compute"
    sm_percent: Percent | None = None
    mig_uuid: Label | None = None


class GpuReading(Message, frozen=True):
    """One GPU at one moment; known by its `uuid`, `index` is NVML's present number for it (None while lost).

    `utilization_percent` is how long anything ran. How much of the GPU that was is in `sm_percent` (SMs with work),
    `tensor_percent` (tensor cores at work) and `dram_percent` (memory bandwidth in use): means since the sample before.
    """

    uuid: Label
    index: Count | None = None
    name: Label | None = None
    state: GpuState = "ok"
    temperature_c: int | None = None
    memory_temperature_c: int | None = None
    utilization_percent: Percent | None = None
    memory_utilization_percent: Percent | None = None
    sm_percent: Share | None = None
    tensor_percent: Share | None = None
    dram_percent: Share | None = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    fan_percent: Count | None = None
    sm_clock_mhz: Count | None = None
    memory_clock_mhz: Count | None = None
    performance_state: Count | None = None
    throttle_reasons: Annotated[list[Label], Meta(max_length=64)] | None = None
    encoder_percent: Percent | None = None
    decoder_percent: Percent | None = None
    pcie_generation: Count | None = None
    pcie_width: Count | None = None
    pcie_rx_bytes_per_s: Count | None = None
    pcie_tx_bytes_per_s: Count | None = None
    nvlink_rx_bytes_per_s: Count | None = None
    nvlink_tx_bytes_per_s: Count | None = None
    ecc_corrected: Count | None = None
    ecc_uncorrected: Count | None = None
    last_xid: Count | None = None
    mig_devices: Annotated[list[MigDevice], Meta(max_length=64)] = []
    processes: Annotated[list[Process], Meta(max_length=4096)] = []


class HostReading(Message, frozen=True):
    """The machine around the GPUs at one moment."""

    cpu_percent: float | None = None
    load_1m: float | None = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None
    swap_used_bytes: Count | None = None
    disk_used_bytes: Count | None = None
    disk_total_bytes: Count | None = None
    network_rx_bytes_per_s: Count | None = None
    network_tx_bytes_per_s: Count | None = None
    uptime_s: float | None = None


class Metrics(Message, frozen=True):
    """One sample of a worker, published each interval on `gpumon/<id>/metrics`."""

    time: float
    seq: Count
    interval_s: Annotated[float, Meta(gt=0)]
    source: Source
    gpus: Annotated[list[GpuReading], Meta(max_length=256)]
    v: Annotated[int, Meta(ge=1)] = PROTOCOL_VERSION
    health: Literal["ok", "degraded"] = "ok"
    problem: Text | None = None
    host: HostReading | None = None


class GpuInventory(Message, frozen=True):
    """What does not change about a GPU while the driver is loaded."""

    uuid: Label
    index: Count | None = None
    name: Label | None = None
    memory_total_bytes: Count | None = None
    power_limit_w: float | None = None
    pci_bus_id: Label | None = None
    serial: Label | None = None
    vbios: Label | None = None
    mig: bool | None = None


class Info(Message, frozen=True):
    """A worker's inventory, retained on `gpumon/<id>/info`."""

    hostname: Label
    agent_version: Label
    source: Source
    interval_s: Annotated[float, Meta(gt=0)]
    gpus: Annotated[list[GpuInventory], Meta(max_length=256)]
    v: Annotated[int, Meta(ge=1)] = PROTOCOL_VERSION
    os: Label | None = None
    kernel: Label | None = None
    cpu: Label | None = None
    cpu_count: Count | None = None
    memory_total_bytes: Count | None = None
    driver_version: Label | None = None
    cuda_version: Label | None = None
    labels: dict[Label, Label] = {}
    commands: CommandPolicy = "any"


class Event(Message, frozen=True):
    """Something that happened at one moment, published on `gpumon/<id>/event`."""

    time: float
    kind: EventKind
    text: Text
    v: Annotated[int, Meta(ge=1)] = PROTOCOL_VERSION
    gpu: Label | None = None
    value: int | None = None


class AlertMessage(Message, frozen=True):
    """What a rule has found on a worker, retained on `gpumon/<id>/alert/<rule>`.

    Of several cards it tells of the one that began last; `gpus` are all that it is true of. `gpu` is None where it is
    about the whole worker; `value` and `threshold` are in `unit`.
    """

    rule: Label
    state: Literal["firing", "resolved"]
    since: float
    text: Text
    v: Annotated[int, Meta(ge=1)] = PROTOCOL_VERSION
    severity: Label = "warning"
    gpu: Label | None = None
    gpus: list[Label] = []
    value: float | None = None
    threshold: float | None = None
    unit: Label | None = None
    count: Count = 1
    until: float | None = None


Status = Literal["online", "offline"]
STATUS_ONLINE: Status = "online"
STATUS_OFFLINE: Status = "offline"

M = TypeVar("M", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """Return the message as JSON, None as null; NaN and infinities, which JSON does not have, become null as well."""
    return _encoder.encode(message)


class Decoder(Generic[M]):
    """Decodes and validates one type of message; kept, since building one is not free."""

    def __init__(self, message_type: type[M]) -> None:
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(message_type)
        self._name = message_type.__name__.lower()

    def decode(self, payload: bytes) -> M:
        """Return the message in `payload`.

        Raises InvalidPayloadError: with the place in the message and what was expected there.
        """
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidPayloadError(f"not a valid {self._name}: {error}") from error


def decode_status(payload: bytes) -> Status:
    """Return the plain-text status in `payload`.

    Raises InvalidPayloadError: for anything but `online` and `offline`.
    """
    if payload == b"online":
        return STATUS_ONLINE
    if payload == b"offline":
        return STATUS_OFFLINE
    raise InvalidPayloadError(f"not a valid status: {payload[:40]!r}, expected online or offline")
