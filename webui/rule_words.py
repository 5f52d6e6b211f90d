"""A rule of alerts in words: `temperature at or above 85 °C for 2 min, on rack=3`."""

from __future__ import annotations

from master.alerts.quantities import duration_text, quantity_text
from master.alerts.records import Kind
from master.alerts.rules import Rule

_WORDS = {
    Kind.WORKER_OFFLINE: "worker offline",
    Kind.TELEMETRY_BROKEN: "telemetry broken",
    Kind.GPU_LOST: "GPU lost",
    Kind.XID: "XID",
    Kind.ECC_UNCORRECTED: "uncorrectable ECC errors",
    Kind.TEMPERATURE: "temperature",
    Kind.MEMORY_TEMPERATURE: "memory temperature",
    Kind.THROTTLING: "clocks held back by",
    Kind.MEMORY_FULL: "memory in use",
    Kind.POWER: "power",
    Kind.IDLE_HELD: "memory held while utilization is",
}


def rule_words(rule: Rule) -> str:
    """Return what the rule looks for, for how long, and where."""
    parts = [_WORDS[rule.kind]]
    if rule.xids:
        parts.append(_listed([str(xid) for xid in rule.xids]))
    if rule.reasons:
        parts.append(_listed([reason.replace("_", " ") for reason in rule.reasons]))
    if rule.above is not None:
        parts.append(f"at or above {_threshold(rule)}")
    if rule.below is not None:
        parts.append(f"below {_threshold(rule)}")
    if rule.for_s:
        parts.append(f"for {duration_text(rule.for_s)}")
    text = " ".join(parts)
    if rule.clear is not None and rule.clear != rule.threshold:
        text += f" (until {'below' if rule.above is not None else 'above'} {quantity_text(rule.clear, rule.unit)})"
    if rule.labels:
        text += ", on " + ", ".join(f"{key}={value}" for key, value in rule.labels.items())
    if rule.quiet_hours is not None:
        text += f", nobody told in {rule.quiet_hours}"
    return text


def _threshold(rule: Rule) -> str:
    text = quantity_text(rule.threshold or 0.0, rule.unit)
    return f"{text} of its limit" if rule.kind is Kind.POWER and rule.unit == "%" else text


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
