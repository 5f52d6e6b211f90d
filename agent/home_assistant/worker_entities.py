"""What Home Assistant shows of a worker as a whole.

`v` is the sample, `h` what it says of the machine around the cards, each an empty dictionary where nothing is said; `c`
are the cards, none where there is no sample (an empty payload clears a topic).
"""

from __future__ import annotations

from agent.home_assistant.entity import Entity, measured, rate, size
from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE

STATEMENTS = "{% set v=value_json|default({}) %}{% set h=v.get('host') or {} %}{% set c=v.get('gpus') %}"

# The time at which the machine was started wavers by what the clocks differ: as long as it is less than a minute off,
# what was said before stands, so that Home Assistant does not record a change each interval.
_BOOTED = (
    "(s if b is none or (b-s)|abs>60 else b)|int|as_datetime if u is not none else none",
    "{% set u=h.get('uptime_s') %}{% set s=v.get('time',0)-(u or 0) %}{% set b=as_timestamp(states(entity_id),none) %}",
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
        "{'ok':'OFF','degraded':'ON'}.get(v.get('health'))",
        platform="binary_sensor",
        device_class="problem",
        attributes="{'problem':v.get('problem')}",
        is_diagnostic=True,
    ),
    Entity(
        "gpus",
        "GPUs",
        "c|rejectattr('state','eq','lost')|list|length if c is not none else none",
        state_class="measurement",
        icon="mdi:expansion-card",
    ),
    Entity(
        "lost_gpus",
        "Lost GPUs",
        "c|selectattr('state','eq','lost')|list|length if c is not none else none",
        state_class="measurement",
        icon="mdi:expansion-card",
        attributes="{'gpus':(c or [])|selectattr('state','eq','lost')|map(attribute='uuid')|list}",
        is_diagnostic=True,
    ),
    measured(
        "gpu_power",
        "GPU power",
        "p|sum|round(1) if p else none",
        "W",
        "power",
        precision=0,
        statements="{% set p=(c or [])|map(attribute='power_w')|reject('none')|list %}",
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
        "v.time|as_datetime if v.get('time') is not none else none",
        device_class="timestamp",
        is_diagnostic=True,
        is_enabled=False,
    ),
)
"""Read from the worker's sample."""
