"""How a card is split among those who use it at one moment. The rules are told in docs/usage.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpumon.messages import GpuReading, Process
from master.usage.names import NOBODY, UNKNOWN, user_name
from master.worker import BUSY_FROM_PERCENT

# Where the card does not say how much memory it has, a process has at most this.
_MOST_MEMORY_BYTES = 2**44

Shares = Mapping[str, float]
"""Parts of a card by user; they add up to 1."""


@dataclass(frozen=True, slots=True)
class Split:
    """A card at one moment: who holds what part of it, who works it and takes its energy, and whose memory is whose.

    `is_busy` is None where it is not known. `memory_bytes` is by user, and holds nothing of `nobody`.
    """

    is_busy: bool | None
    held: Shares
    worked: Shares
    memory_bytes: Mapping[str, float]


_FREE = Split(is_busy=False, held={NOBODY: 1.0}, worked={NOBODY: 1.0}, memory_bytes={})
_FREE_OR_NOT = Split(is_busy=None, held={NOBODY: 1.0}, worked={NOBODY: 1.0}, memory_bytes={})


def split(gpu: GpuReading) -> Split:
    """Return how the card is split among the users of its processes."""
    is_busy = None if gpu.utilization_percent is None else gpu.utilization_percent >= BUSY_FROM_PERCENT
    processes = [process for process in gpu.processes if process.type == "compute"]
    if not processes and is_busy:
        processes = gpu.processes
    if not processes:
        if is_busy:  # by a process that has just ended, or is not listed
            return _of_one(UNKNOWN, float(gpu.memory_used_bytes or 0), is_busy=True)
        return _FREE if is_busy is False else _FREE_OR_NOT
    users = [user_name(process.user) for process in processes]
    memory = _memory_by_user(gpu, processes, users)
    sm = _by_user(users, [process.sm_percent for process in processes])
    if is_busy is None and sm is not None:
        is_busy = sum(sm.values()) >= BUSY_FROM_PERCENT
    if gpu.mig_devices:
        held = _held_of_mig(gpu, processes, users)
    elif len(memory) == 1:
        (user,) = memory
        return _of_one(user, memory[user], is_busy=is_busy)
    else:
        held = _held(processes, memory)
    worked = _parts(sm) if is_busy and sm is not None and sum(sm.values()) > 0 else held
    return Split(is_busy, held, worked, memory)


def _of_one(user: str, memory_bytes: float, *, is_busy: bool | None) -> Split:
    return Split(is_busy, {user: 1.0}, {user: 1.0}, {user: memory_bytes})


def _held(processes: Sequence[Process], memory: Mapping[str, float]) -> Shares:
    """Split by memory; evenly where that of one of the processes is not known."""
    if any(process.memory_bytes is None for process in processes) or not sum(memory.values()):
        return _parts(dict.fromkeys(memory, 1.0))
    return _parts(memory)


def _held_of_mig(gpu: GpuReading, processes: Sequence[Process], users: Sequence[str]) -> Shares:
    """Split first into the card's devices, those that nobody uses to `nobody`, and each of them by memory."""
    devices = {device.uuid: device for device in gpu.mig_devices}
    if any(process.mig_uuid not in devices for process in processes):
        return _held(processes, _memory_by_user(gpu, processes, users))
    sizes = {uuid: float(device.memory_total_bytes or 0) for uuid, device in devices.items()}
    parts = _parts(sizes) if all(sizes.values()) else _parts(dict.fromkeys(sizes, 1.0))
    held: dict[str, float] = {}
    for uuid, part in parts.items():
        inside = [process for process in processes if process.mig_uuid == uuid]
        names = [user_name(process.user) for process in inside]
        shares = _held(inside, _memory_by_user(gpu, inside, names)) if inside else {NOBODY: 1.0}
        for user, share in shares.items():
            held[user] = held.get(user, 0.0) + part * share
    return held


def _memory_by_user(gpu: GpuReading, processes: Sequence[Process], users: Sequence[str]) -> Mapping[str, float]:
    """Return each user's memory, in bytes; evenly what the card has in use where that of a process is not known."""
    most = _most_bytes(gpu)
    sums = _by_user(users, [process.memory_bytes for process in processes], most)
    if sums is None:
        names = dict.fromkeys(users)
        return dict.fromkeys(names, min(float(gpu.memory_used_bytes or 0), most) / len(names))
    return sums


def _by_user(
    users: Sequence[str], values: Sequence[float | None], most: float = float("inf")
) -> dict[str, float] | None:
    """Add up by user, of each value `most` at most; None where one is not known."""
    sums: dict[str, float] = {}
    for user, value in zip(users, values, strict=True):
        if value is None:
            return None
        sums[user] = sums.get(user, 0.0) + min(value, most)
    return sums


def _most_bytes(gpu: GpuReading) -> float:
    return float(min(gpu.memory_total_bytes or _MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))


def _parts(weights: Mapping[str, float]) -> Shares:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
