"""The rules that are on from the start. Each can be changed or turned off, in `gpumon.toml` and on the page."""

from __future__ import annotations

from master.alerts.kinds import CELSIUS, PERCENT
from master.alerts.records import Kind, Severity
from master.alerts.rules import Rule

_MINUTE_S = 60.0

# A stop sent to an idle process lets it end by itself; `write` reaches whoever is logged in, and fails for others.
_TELL = (
    "for user in {users}; do printf '\\nGPU %s of %s: your process holds its memory, but has not used it for a while. "
    'Please end it if you do not need it.\\n\' {index} {worker} | write "$user"; done'
)
_END = "kill {pids}"

_RULES = (
    Rule("worker-offline", Kind.WORKER_OFFLINE, Severity.PAGE, for_s=2 * _MINUTE_S),
    Rule("telemetry-broken", Kind.TELEMETRY_BROKEN, for_s=2 * _MINUTE_S),
    # A card that is reset, or whose driver is loaded anew, is away for some seconds.
    Rule("gpu-lost", Kind.GPU_LOST, Severity.PAGE, for_s=30.0),
    Rule("xid-critical", Kind.XID, Severity.PAGE, xids=(48, 62, 64, 74, 79, 95, 119, 120)),
    Rule("xid-note", Kind.XID, Severity.NOTE, xids=(13, 31, 43, 63, 92)),
    Rule("ecc-uncorrected", Kind.ECC_UNCORRECTED, Severity.PAGE),
    Rule("hot", Kind.TEMPERATURE, above=85.0, clear=80.0, unit=CELSIUS, for_s=2 * _MINUTE_S),
    Rule(
        "throttling",
        Kind.THROTTLING,
        reasons=("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"),
        for_s=5 * _MINUTE_S,
    ),
    Rule(
        "memory-full",
        Kind.MEMORY_FULL,
        Severity.NOTE,
        above=99.0,
        clear=97.0,
        unit=PERCENT,
        for_s=10 * _MINUTE_S,
    ),
    Rule("power", Kind.POWER, above=105.0, clear=102.0, unit=PERCENT, for_s=5 * _MINUTE_S),
    Rule(
        "idle-held",
        Kind.IDLE_HELD,
        Severity.NOTE,
        below=5.0,
        clear=5.0,
        unit=PERCENT,
        for_s=15 * _MINUTE_S,
        commands={"Tell the users on their terminals": _TELL, "End the idle processes": _END},
    ),
)

BUILT_IN = {rule.name: rule for rule in _RULES}
