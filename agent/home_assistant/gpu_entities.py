"""What Home Assistant shows of one card.

A card is found in the sample by its uuid, since its place in the list changes when another is lost. `g` is then its
reading, and an empty dictionary where the card is not in the sample, so that all that is said of it is unknown.
"""

from __future__ import annotations

import msgspec

from agent.home_assistant.entity import GIB, Entity, divided, measured, rate, size

J_PER_KWH = 3_600_000
SHOWN_PROCESSES = 20  # Home Assistant's recorder keeps 16 KiB of an entity's attributes
MAX_STATE = 250  # characters; Home Assistant takes 255

# Reasons for lower clocks that somebody has to look after; power caps and idle clocks are a card's daily life.
_SLOWDOWNS = "['hw_slowdown','hw_thermal_slowdown','hw_power_brake_slowdown','sw_thermal_slowdown']"

_IS_OK = "g.get('state')=='ok'"
_IS_LOST = "g.get('state','lost')=='lost'"
_THROTTLES = f"g.get('throttle_reasons')|select('in',{_SLOWDOWNS})|list"
_PERFORMANCE_STATE = "g.get('performance_state')"
_USED, _TOTAL = "g.get('memory_used_bytes')", "g.get('memory_total_bytes')"

# Who uses the card, without command lines and what may stand in them. A process whose user is not known counts as "?".
_USERS = (
    "((g.processes|map(attribute='user')|map('default','?',true)|unique(true)|sort|join(', ')) or 'free')"
    f"|truncate({MAX_STATE},true,'…',0) if {_IS_OK} else none"
)
_PROCESSES = (
    "{% set n=namespace(l=[]) %}{% for p in g.get('processes',[])[:SHOWN] %}{% set n.l=n.l+[{'user':p.user,"
    "'name':p.name,'pid':p.pid,'type':p.type,'container':p.container,'memory_gib':MEMORY}] %}{% endfor %}"
)
_PROCESSES = _PROCESSES.replace("SHOWN", str(SHOWN_PROCESSES)).replace("MEMORY", divided("p.memory_bytes", GIB, 1))


def selecting(uuid: str) -> str:
    """Return the statement that makes `g` the reading of this card."""
    literal = msgspec.json.encode(uuid).decode().encode("ascii", "backslashreplace").decode()
    cards = "(value_json|default({})).get('gpus',[])"  # an empty payload, which clears a topic, is no JSON
    return f"{{% set g={cards}|selectattr('uuid','eq',{literal})|first|default({{}}) %}}"


def availability(uuid: str) -> str:
    """Return the template that says whether the card is there; one that is asleep is."""
    return f"{selecting(uuid)}{{{{ 'offline' if {_IS_LOST} else 'online' }}}}"


READINGS = (
    measured("temperature", "Temperature", "g.get('temperature_c')", "°C", "temperature"),
    measured("memory_temperature", "Memory temperature", "g.get('memory_temperature_c')", "°C", "temperature"),
    measured("utilization", "Utilization", "g.get('utilization_percent')", "%", icon="mdi:gauge"),
    size("memory_used", "Memory used", _USED),
    measured(
        "memory_usage",
        "Memory usage",
        f"(100*{_USED}/{_TOTAL})|round(1) if {_TOTAL} and {_USED} is not none else none",
        "%",
        icon="mdi:memory",
    ),
    size("memory_total", "Memory total", _TOTAL, is_diagnostic=True),
    measured(
        "memory_utilization",
        "Memory controller utilization",
        "g.get('memory_utilization_percent')",
        "%",
        icon="mdi:gauge",
        is_enabled=False,
    ),
    measured("power", "Power", "g.get('power_w')", "W", "power", precision=0),
    measured("power_limit", "Power limit", "g.get('power_limit_w')", "W", "power", precision=0, is_diagnostic=True),
    measured(
        "energy",
        "Energy",
        divided("g.get('energy_j')", J_PER_KWH, 6),
        "kWh",
        "energy",
        precision=2,
        state_class="total_increasing",  # NVML counts from the driver's start
    ),
    measured("fan", "Fan", "g.get('fan_percent')", "%", icon="mdi:fan"),
    measured("sm_clock", "SM clock", "g.get('sm_clock_mhz')", "MHz", "frequency"),
    measured("memory_clock", "Memory clock", "g.get('memory_clock_mhz')", "MHz", "frequency"),
    measured("encoder", "Encoder", "g.get('encoder_percent')", "%", icon="mdi:video"),
    measured("decoder", "Decoder", "g.get('decoder_percent')", "%", icon="mdi:video"),
    rate("pcie_rx", "PCIe receive", "g.get('pcie_rx_bytes_per_s')"),
    rate("pcie_tx", "PCIe transmit", "g.get('pcie_tx_bytes_per_s')"),
    rate("nvlink_rx", "NVLink receive", "g.get('nvlink_rx_bytes_per_s')", is_enabled=False),
    rate("nvlink_tx", "NVLink transmit", "g.get('nvlink_tx_bytes_per_s')", is_enabled=False),
    Entity(
        "performance_state",
        "Performance state",
        f"'P'~{_PERFORMANCE_STATE} if {_PERFORMANCE_STATE} is not none and {_PERFORMANCE_STATE}<16 else none",
        device_class="enum",
        options=[f"P{number}" for number in range(16)],
        is_diagnostic=True,
    ),
    Entity("users", "Users", _USERS, icon="mdi:account", statements=_PROCESSES, attributes="{'processes':n.l}"),
    Entity(
        "processes",
        "Processes",
        f"g.processes|length if {_IS_OK} else none",
        state_class="measurement",
        icon="mdi:application-cog",
    ),
    Entity(
        "state",
        "State",
        "g.get('state')",
        device_class="enum",
        options=["ok", "asleep", "error", "lost"],
        is_diagnostic=True,
    ),
    Entity(
        "throttled",
        "Throttled",
        f"('ON' if {_THROTTLES} else 'OFF') if g.get('throttle_reasons') is not none else none",
        platform="binary_sensor",
        device_class="problem",
        attributes="{'reasons':g.get('throttle_reasons')}",
        is_diagnostic=True,
    ),
    Entity("last_xid", "Last XID", "g.get('last_xid')", icon="mdi:alert-octagon", is_diagnostic=True),
    Entity(
        "ecc_corrected",
        "ECC errors corrected",
        "g.get('ecc_corrected')",
        state_class="total_increasing",
        icon="mdi:memory",
        is_diagnostic=True,
    ),
    Entity(
        "ecc_uncorrected",
        "ECC errors uncorrected",
        "g.get('ecc_uncorrected')",
        state_class="total_increasing",
        icon="mdi:memory",
        is_diagnostic=True,
    ),
    Entity("index", "Index", "g.get('index')", icon="mdi:numeric", is_diagnostic=True),
    Entity(
        "pcie_generation",
        "PCIe generation",
        "g.get('pcie_generation')",
        icon="mdi:expansion-card",
        is_diagnostic=True,
        is_enabled=False,
    ),
    Entity(
        "pcie_width",
        "PCIe lanes",
        "g.get('pcie_width')",
        icon="mdi:expansion-card",
        is_diagnostic=True,
        is_enabled=False,
    ),
)
"""What is unavailable while the card is lost."""

CONDITIONS = (
    Entity(
        "connected",
        "Connected",
        f"'OFF' if {_IS_LOST} else 'ON'",
        platform="binary_sensor",
        device_class="connectivity",
        is_diagnostic=True,
    ),
    Entity(
        "problem",
        "Problem",
        "'ON' if g.get('state','lost') in ('lost','error') else 'OFF'",
        platform="binary_sensor",
        device_class="problem",
        attributes="{'state':g.get('state','lost')}",
        is_diagnostic=True,
    ),
)
"""What goes on being said of a lost card, as long as its worker is there."""
