"""What each kind of rule looks at: its unit, which thresholds it has, and which further fields."""

from __future__ import annotations

from dataclasses import dataclass

from master.alerts.records import Kind

PERCENT = "%"
CELSIUS = "°C"
WATT = "W"

# As the sampler names NVML's clocks event reasons (`nvmlClocksEventReasons`).
THROTTLE_REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
)

_MOST = {PERCENT: 1000.0, CELSIUS: 200.0, WATT: 10_000.0}


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a rule of a kind may hold.

    `units`: of its threshold, the first where none is given. `sides`: `above`, `below` or both, empty where the kind
    has no threshold. `lists`: the list that it needs, `xids` or `reasons`. `about_card`: whether it looks at each card
    by itself. `is_event`: whether it tells of moments, which are counted and end after a quiet time, and not of
    something that lasts.
    """

    looks_at: str
    units: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    lists: str | None = None
    about_card: bool = True
    is_event: bool = False


KINDS = {
    Kind.WORKER_OFFLINE: KindFacts("whether the worker is offline", about_card=False),
    Kind.TELEMETRY_BROKEN: KindFacts("whether the worker says that its telemetry is broken", about_card=False),
    Kind.GPU_LOST: KindFacts("whether a card of the worker does not answer any more"),
    Kind.XID: KindFacts("errors that the NVIDIA driver reports of a card", lists="xids", is_event=True),
    Kind.ECC_UNCORRECTED: KindFacts("memory errors of a card that could not be corrected", is_event=True),
    Kind.TEMPERATURE: KindFacts("a card's temperature", (CELSIUS,), ("above", "below")),
    Kind.MEMORY_TEMPERATURE: KindFacts("the temperature of a card's memory", (CELSIUS,), ("above", "below")),
    Kind.THROTTLING: KindFacts("whether a card's clocks are slowed down, and why", lists="reasons"),
    Kind.MEMORY_FULL: KindFacts("how much of a card's memory is used", (PERCENT,), ("above",)),
    Kind.POWER: KindFacts("a card's power, of its limit or in watts", (PERCENT, WATT), ("above", "below")),
    Kind.IDLE_HELD: KindFacts("a card's utilization while a process holds its memory", (PERCENT,), ("below",)),
}


def most(unit: str) -> float:
    """Return the largest threshold that makes sense in a unit."""
    return _MOST[unit]
