"""What Home Assistant shows of a worker as a whole.

`h` is what the sample says of the machine around the cards, an empty dictionary where it says nothing.
"""

from __future__ import annotations

from agent.home_assistant.entity import Entity, measured, rate, size
from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE

STATEMENTS = "{% set h=value_json.host or {} %}"

# The time at which the machine was started wavers by what the clocks differ: as long as it is less than a minute off,
# what was said before stands, so that Home Assistant does not record a change each interval.
_BOOTED = (
    "(s if b is none or (b-s)|abs>60 else b)|int|as_datetime if u is not none else none",
    "{% set u=h.get('uptime_s') %}{% set s=value_json.time-(u or 0) %}{% set b=as_timestamp(states(entity_id),none) %}",
)

CONNECTED = Entity(
    "connected",
    "Connected",
    f"{{'{STATUS_ONLINE}':'ON','{STATUS_OFFLINE}':'OFF'}}.get(value)",
    platform="binary_sensor",
    device_class="connectivity",
    is_diagnostic=True,
)
"""Read from the worker's status, and so available while the worker is not."""

READINGS = (
    Entity(
        "problem",
        "Problem",
        "'OFF' if value_json.health=='ok' else 'ON'",
        platform="binary_sensor",
        device_class="problem",
        attributes="{'problem':value_json.problem}",
        is_diagnostic=True,
    ),
    Entity(
        "gpus",
        "GPUs",
        "value_json.gpus|rejectattr('state','eq','lost')|list|length",
        state_class="measurement",
        icon="mdi:expansion-card",
    ),
    Entity(
        "lost_gpus",
        "Lost GPUs",
        "value_json.gpus|selectattr('state','eq','lost')|list|length",
        state_class="measurement",
        icon="mdi:expansion-card",
        attributes="{'gpus':value_json.gpus|selectattr('state','eq','lost')|map(attribute='uuid')|list}",
        is_diagnostic=True,
    ),
    measured(
        "gpu_power",
        "GPU power",
        "p|sum|round(1) if p else none",
        "W",
        "power",
        precision=0,
        statements="{% set p=value_json.gpus|map(attribute='power_w')|reject('none')|list %}",
    ),
    measured("cpu", "CPU", "h.get('cpu_percent')", "%", icon="mdi:cpu-64-bit"),
    Entity("load", "Load", "h.get('load_1m')", state_class="measurement", icon="mdi:gauge", precision=2),
    size("memory_used", "Memory used", "h.get('memory_used_bytes')"),
    size("memory_total", "Memory total", "h.get('memory_total_bytes')", is_diagnostic=True),
    size("swap_used", "Swap used", "h.get('swap_used_bytes')", is_enabled=False),
    size("disk_used", "Disk used", "h.get('disk_used_bytes')"),
    size("disk_total", "Disk total", "h.get('disk_total_bytes')", is_diagnostic=True),
    rate("network_rx", "Network receive", "h.get('network_rx_bytes_per_s')"),
    rate("network_tx", "Network transmit", "h.get('network_tx_bytes_per_s')"),
    Entity("booted", "Booted", _BOOTED[0], device_class="timestamp", statements=_BOOTED[1], is_diagnostic=True),
    Entity(
        "sampled",
        "Last sample",
        "value_json.time|as_datetime",
        device_class="timestamp",
        is_diagnostic=True,
        is_enabled=False,
    ),
)
"""Read from the worker's sample."""
