"""What rules say of a card's reading, compiled once a rule: judging a reading builds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from operator import attrgetter

from gpumon.messages import GpuReading
from master.alerts.kinds import WATT
from master.alerts.records import Kind
from master.alerts.rules import Rule

# A context alone takes some hundred MiB; less is held by helpers that serve others (an MPS server, a display).
HELD_AT_LEAST_BYTES = 256 * 1024**2


class Verdict(IntEnum):
    """What a rule says: `HOLD` is between threshold and `clear`; `UNKNOWN`, that the reading is not available."""

    CLEAR = 0
    UNKNOWN = 1
    HOLD = 2
    MET = 3


CLEAR, UNKNOWN, HOLD, MET = Verdict

Read = Callable[[GpuReading], float | None]
Judge = Callable[[GpuReading], Verdict]


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule about a card's readings: what it says of one, and the value that it looks at."""

    name: str
    rule: Rule
    judge: Judge
    value: Read


@dataclass(slots=True)
class Plan:
    """The rules that look at a worker, by what they need to be told."""

    rules: Mapping[str, Rule]
    conditions: list[Condition] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    lost: list[Rule] = field(default_factory=list)
    xids: dict[int, list[Rule]] = field(default_factory=dict)
    ecc: list[Rule] = field(default_factory=list)
    whole: list[Rule] = field(default_factory=list)


def plan(rules: Iterable[Rule]) -> Plan:
    """Return how these rules are followed."""
    made = Plan({rule.name: rule for rule in rules})
    for rule in made.rules.values():
        if rule.kind in (Kind.WORKER_OFFLINE, Kind.TELEMETRY_BROKEN):
            made.whole.append(rule)
        elif rule.kind is Kind.GPU_LOST:
            made.lost.append(rule)
        elif rule.kind is Kind.ECC_UNCORRECTED:
            made.ecc.append(rule)
        elif rule.kind is Kind.XID:
            for xid in rule.xids:
                made.xids.setdefault(xid, []).append(rule)
        else:
            made.conditions.append(_condition(rule))
            made.judges.append(made.conditions[-1].judge)
    return made


def judge_unread(gpu: GpuReading) -> Verdict:
    """Say what is to be said of the readings of a card that has none: what is asleep or lost is not hot."""
    return UNKNOWN if gpu.state == "error" else CLEAR


def judge_lost(gpu: GpuReading) -> Verdict:
    """Say whether a card is lost; with telemetry that is broken as a whole nobody knows."""
    if gpu.state == "lost":
        return MET
    return UNKNOWN if gpu.state == "error" else CLEAR


def holds_memory(gpu: GpuReading) -> bool:
    """Tell whether processes hold the card's memory; where the driver does not say how much, each does."""
    held = 0
    for process in gpu.processes:
        if process.type == "compute":
            if process.memory_bytes is None:
                return True
            held += process.memory_bytes
    return held >= HELD_AT_LEAST_BYTES


def _condition(rule: Rule) -> Condition:
    if rule.kind is Kind.THROTTLING:
        return Condition(rule.name, rule, _throttling(frozenset(rule.reasons)), lambda _gpu: None)
    read = _READS[rule.kind] if rule.unit != WATT else _POWER_W
    judge = _above(read, rule) if rule.above is not None else _below(read, rule)
    if rule.kind is Kind.IDLE_HELD:
        judge = _while_held(judge)
    return Condition(rule.name, rule, judge, read)


def _above(read: Read, rule: Rule) -> Judge:
    threshold, clear = _bounds(rule)

    def judge(gpu: GpuReading) -> Verdict:
        value = read(gpu)
        if value is None:
            return UNKNOWN
        if value < clear:
            return CLEAR
        return MET if value >= threshold else HOLD

    return judge


def _below(read: Read, rule: Rule) -> Judge:
    threshold, clear = _bounds(rule)

    def judge(gpu: GpuReading) -> Verdict:
        value = read(gpu)
        if value is None:
            return UNKNOWN
        if value >= clear:
            return CLEAR
        return MET if value < threshold else HOLD

    return judge


def _bounds(rule: Rule) -> tuple[float, float]:
    threshold = rule.threshold
    assert threshold is not None  # noqa: S101 - the parser gives every such kind one  # nosec B101
    return threshold, threshold if rule.clear is None else rule.clear


def _while_held(judge: Judge) -> Judge:
    def judge_held(gpu: GpuReading) -> Verdict:
        if not gpu.processes:
            return CLEAR
        verdict = judge(gpu)
        return verdict if verdict is CLEAR or holds_memory(gpu) else CLEAR

    return judge_held


def _throttling(reasons: frozenset[str]) -> Judge:
    def judge(gpu: GpuReading) -> Verdict:
        present = gpu.throttle_reasons
        if present is None:
            return UNKNOWN
        return CLEAR if reasons.isdisjoint(present) else MET

    return judge


def _memory_percent(gpu: GpuReading) -> float | None:
    used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
    if used is None or not total:
        return None
    return 100 * used / total if used < total else 100.0


def _power_percent(gpu: GpuReading) -> float | None:
    power, limit = gpu.power_w, gpu.power_limit_w
    return None if power is None or not limit or limit < 0 else 100.0 * power / limit


# `attrgetter` is faster than a function, which counts where it is called for every card in every sample.
_POWER_W: Read = attrgetter("power_w")
_READS: dict[Kind, Read] = {
    Kind.TEMPERATURE: attrgetter("temperature_c"),
    Kind.MEMORY_TEMPERATURE: attrgetter("memory_temperature_c"),
    Kind.MEMORY_FULL: _memory_percent,
    Kind.POWER: _power_percent,
    Kind.IDLE_HELD: attrgetter("utilization_percent"),
}
