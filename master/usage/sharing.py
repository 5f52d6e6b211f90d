"""How a card is split among those who use it at one moment. The rules are told in docs/usage.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    memory = _memory_by_user(gpu, processes)
    sm = _sm_by_user(processes)
    if is_busy is None and sm is not None:
        is_busy = sum(sm.values()) >= BUSY_FROM_PERCENT
    if len(memory) == 1:
        (user,) = memory
        if not gpu.mig_devices:
            return _of_one(user, memory[user], is_busy=is_busy)
    held = _held(gpu, processes)
    worked = _parts(sm) if is_busy and sm is not None and sum(sm.values()) > 0 else held
    return Split(is_busy, held, worked, memory)


def _of_one(user: str, memory_bytes: float, *, is_busy: bool | None) -> Split:
    return Split(is_busy, {user: 1.0}, {user: 1.0}, {user: memory_bytes})


def _held(gpu: GpuReading, processes: Sequence[Process]) -> Shares:
    """Split by memory; a card in MIG mode first into its devices, those that nobody uses to `nobody`."""
    devices = {device.uuid: device for device in gpu.mig_devices}
    if not devices or any(process.mig_uuid not in devices for process in processes):
        return _by_memory(gpu, processes)
    sizes = {uuid: float(device.memory_total_bytes or 0) for uuid, device in devices.items()}
    parts = _parts(sizes) if all(sizes.values()) else _parts(dict.fromkeys(sizes, 1.0))
    held: dict[str, float] = {}
    for uuid, part in parts.items():
        inside = [process for process in processes if process.mig_uuid == uuid]
        for user, share in (_by_memory(gpu, inside) if inside else {NOBODY: 1.0}).items():
            held[user] = held.get(user, 0.0) + part * share
    return held


def _by_memory(gpu: GpuReading, processes: Sequence[Process]) -> Shares:
    most = _most_bytes(gpu)
    sums = _sums((user_name(process.user), _bytes(process, most)) for process in processes)
    if any(process.memory_bytes is None for process in processes) or not sum(sums.values()):
        return _parts(dict.fromkeys(sums, 1.0))
    return _parts(sums)


def _memory_by_user(gpu: GpuReading, processes: Sequence[Process]) -> Mapping[str, float]:
    most = _most_bytes(gpu)
    if any(process.memory_bytes is None for process in processes):
        users = dict.fromkeys((user_name(process.user) for process in processes), 0.0)
        return dict.fromkeys(users, min(float(gpu.memory_used_bytes or 0), most) / len(users))
    return _sums((user_name(process.user), _bytes(process, most)) for process in processes)


def _sm_by_user(processes: Sequence[Process]) -> Mapping[str, float] | None:
    if any(process.sm_percent is None for process in processes):
        return None
    return _sums((user_name(process.user), float(process.sm_percent or 0)) for process in processes)


def _most_bytes(gpu: GpuReading) -> float:
    return float(min(gpu.memory_total_bytes or _MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))


def _bytes(process: Process, most: float) -> float:
    return min(process.memory_bytes or 0, most)


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for user, value in pairs:
        sums[user] = sums.get(user, 0.0) + value
    return sums


def _parts(weights: Mapping[str, float]) -> Shares:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
