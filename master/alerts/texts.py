"""What an alert says, in one sentence; which worker it is about stands beside it."""

from __future__ import annotations

from collections.abc import Callable

from gpumon.messages import STATUS_OFFLINE, Event, GpuReading, Process
from master.alerts.quantities import duration_text, quantity_text
from master.alerts.records import Kind
from master.alerts.rules import Rule
from master.worker import Worker

MOST_NAMES = 4
MIB = 1024**2


def card_name(gpu: GpuReading | None, uuid: str | None) -> str:
    """Return how a card is called: by its present index and model, a lost one by its model and how its uuid begins.

    The whole uuid stands in the alert itself.
    """
    if gpu is None:
        return _short(uuid) if uuid else "a card"
    if gpu.index is not None:
        return f"GPU {gpu.index} ({gpu.name})" if gpu.name else f"GPU {gpu.index}"
    return f"{gpu.name} ({_short(gpu.uuid)})" if gpu.name else _short(gpu.uuid)


def _short(uuid: str) -> str:
    """Return `GPU-01234567` of `GPU-01234567-89ab-...`: a machine has no two of which that is the same."""
    return "-".join(uuid.split("-")[:2])


def worker_text(rule: Rule, worker: Worker | None, silent_s: float) -> str:
    """Return what is said of a whole worker; `silent_s` is for how long nothing has been heard of it."""
    if rule.kind is Kind.TELEMETRY_BROKEN:
        problem = worker.metrics.problem if worker is not None and worker.metrics is not None else None
        return f"its telemetry is broken: {problem}" if problem else "its telemetry is broken"
    if worker is not None and worker.status == STATUS_OFFLINE:
        return "it is offline: its connection to the broker has ended"
    return f"it is offline: nothing has been heard of it for {duration_text(silent_s)}"


def card_text(rule: Rule, gpu: GpuReading | None, uuid: str | None, value: float | None) -> str:
    """Return what is said of a card's readings."""
    name = card_name(gpu, uuid)
    if rule.kind is Kind.GPU_LOST:
        return f"{name} does not answer any more"
    if gpu is None:
        return f"{name}: as rule {rule.name} says"
    return _TEXTS[rule.kind](rule, gpu, name, value)


def event_text(rule: Rule, gpu: GpuReading | None, uuid: str | None, event: Event | None, count: int) -> str:
    """Return what is said of what has happened at a moment, for the last time of `count`."""
    name = card_name(gpu, uuid) if uuid is not None else "one of its cards"
    times = f", {count} times" if count > 1 else ""
    if rule.kind is Kind.ECC_UNCORRECTED:
        errors = "a memory error" if count == 1 else f"{count} memory errors"
        return f"{name} has had {errors} that could not be corrected"
    if event is None:
        return f"{name}: as rule {rule.name} says"
    return f"{name} reports XID {event.value}{times}: {event.text}"


def ended_text(text: str, why: str | None) -> str:
    """Return what is said of an alert that is over; `why` is None where what it told of is over itself."""
    return text if why is None else f"{text} (ended: {why})"


def _temperature(rule: Rule, _gpu: GpuReading, name: str, value: float | None) -> str:
    what = "the memory of " if rule.kind is Kind.MEMORY_TEMPERATURE else ""
    return f"{what}{name} is at {_reached(rule, value)}"


def _power(rule: Rule, _gpu: GpuReading, name: str, value: float | None) -> str:
    of = " of its limit" if rule.unit == "%" else ""
    return f"{name} draws {_reached(rule, value, of)}"


def _memory(rule: Rule, _gpu: GpuReading, name: str, value: float | None) -> str:
    return f"the memory of {name} is used to {_reached(rule, value)}"


def _throttling(rule: Rule, gpu: GpuReading, name: str, _value: float | None) -> str:
    reasons = [reason.replace("_", " ") for reason in gpu.throttle_reasons or () if reason in rule.reasons]
    return f"{name} is slowed down: {', '.join(reasons) or 'throttled'}"


def _idle(rule: Rule, gpu: GpuReading, name: str, value: float | None) -> str:
    held = sum(process.memory_bytes or 0 for process in gpu.processes)
    users = sorted({user for process in gpu.processes if (user := _user(process))})
    some = ", ".join(users[:MOST_NAMES]) + (" and others" if len(users) > MOST_NAMES else "")
    whose = f" by {some}" if some else ""
    memory = f"{held / MIB / 1024:.1f} GiB" if held else "memory"
    return f"{memory} of {name} held{whose} while it is used to {quantity_text(value or 0.0, rule.unit)}"


def _user(process: Process) -> str | None:
    return process.user if process.type == "compute" else None


def _reached(rule: Rule, value: float | None, of: str = "") -> str:
    side = "at or above" if rule.above is not None else "below"
    shown = quantity_text(value, rule.unit) if value is not None else "?"
    return f"{shown}{of} ({side} {quantity_text(rule.threshold or 0.0, rule.unit)})"


_TEXTS: dict[Kind, Callable[[Rule, GpuReading, str, float | None], str]] = {
    Kind.TEMPERATURE: _temperature,
    Kind.MEMORY_TEMPERATURE: _temperature,
    Kind.POWER: _power,
    Kind.MEMORY_FULL: _memory,
    Kind.THROTTLING: _throttling,
    Kind.IDLE_HELD: _idle,
}
