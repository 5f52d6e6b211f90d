"""A machine to announce, and Home Assistant's side of a template without Home Assistant."""

from __future__ import annotations

import datetime
import json
from typing import Any

import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agent.home_assistant.messages import Machine, discovery_messages
from gpumon.messages import GpuInventory, GpuReading, HostReading, Info, Metrics, Process, encode
from gpumon.topics import Topics

ONE, OTHER = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6", "GPU-00000000-1b2c-3d4e-5f60-718293a4b5c6"
CARD, OTHER_CARD = (
    GpuInventory(uuid=ONE, index=0, name="NVIDIA H200"),
    GpuInventory(uuid=OTHER, index=1, name="NVIDIA L4"),
)
WORKER_TOPIC = "homeassistant/device/gpumon_w1/config"
CARD_TOPIC = f"homeassistant/device/gpumon_w1_{ONE}/config"

Config = dict[str, Any]


def info(*gpus: GpuInventory, **fields: Any) -> Info:
    given = {"hostname": "w1.lab", "agent_version": "0.1.0", "source": "nvml", "interval_s": 5.0, **fields}
    return Info(gpus=list(gpus), **given)


def announced(
    *gpus: GpuInventory, topics: Topics | None = None, buttons: Any = None, **fields: Any
) -> dict[str, Config]:
    """Return the discovery messages by their topics."""
    machine = Machine("w1", topics or Topics(), info(*gpus, **fields), buttons or {})
    return {topic: json.loads(text) for topic, text in discovery_messages(machine, gpus).items()}


def sample(*gpus: GpuReading, **fields: Any) -> Metrics:
    return Metrics(time=1_766_500_000.5, seq=1, interval_s=5.0, source="nvml", gpus=list(gpus), **fields)


def full_reading(uuid: str = ONE) -> GpuReading:
    """Return a reading in which nothing is missing."""
    process = Process(pid=7, user="lena", name="python", command="python train.py --key s3cret", memory_bytes=3 * 2**30)
    return GpuReading(
        uuid=uuid,
        index=0,
        temperature_c=41,
        memory_temperature_c=44,
        utilization_percent=93,
        memory_utilization_percent=37,
        memory_used_bytes=2**30,
        memory_total_bytes=4 * 2**30,
        power_w=612.4,
        power_limit_w=700.0,
        energy_j=7_200_000.0,
        fan_percent=30,
        sm_clock_mhz=1980,
        memory_clock_mhz=3201,
        performance_state=2,
        throttle_reasons=["sw_power_cap"],
        encoder_percent=1,
        decoder_percent=2,
        pcie_generation=5,
        pcie_width=16,
        pcie_rx_bytes_per_s=1_500_000,
        pcie_tx_bytes_per_s=0,
        nvlink_rx_bytes_per_s=2_000_000,
        nvlink_tx_bytes_per_s=3_000_000,
        ecc_corrected=0,
        ecc_uncorrected=1,
        last_xid=79,
        processes=[process, Process(pid=8), msgspec.structs.replace(process, pid=9)],
    )


def host() -> HostReading:
    return HostReading(**dict.fromkeys(HostReading.__struct_fields__, 2**30))


def rendered(template: str, message: Metrics | str, shown_before: str = "unknown") -> str:
    """Return what Home Assistant makes of a template, as far as these use what Jinja itself does not have."""
    text = message if isinstance(message, str) else encode(message).decode()
    environment = ImmutableSandboxedEnvironment()
    environment.filters["to_json"] = json.dumps
    environment.filters["as_datetime"] = lambda value: datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    environment.globals["states"] = lambda _entity_id: shown_before
    environment.globals["as_timestamp"] = _as_timestamp
    variables: Config = {"value": text, "entity_id": "sensor.x"}
    if text.startswith("{"):
        variables["value_json"] = json.loads(text)
    return environment.from_string(template).render(variables).strip()


def values(config: Config, message: Metrics | str) -> dict[str, str]:
    """Return what each entity of a device shows, by its key."""
    return {
        key: rendered(component["val_tpl"], message)
        for key, component in config["cmps"].items()
        if "val_tpl" in component
    }


def attributes(config: Config, key: str, message: Metrics) -> Any:
    return json.loads(rendered(config["cmps"][key]["json_attr_tpl"], message))


def _as_timestamp(value: str, default: object) -> object:
    try:
        return datetime.datetime.fromisoformat(value).timestamp()
    except ValueError:
        return default
