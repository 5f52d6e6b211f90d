"""A worker as the fleet view shows it: one small row, built from what the master knows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from gpumon.messages import GpuInventory, GpuReading
from master.worker import Worker, WorkerState

Number = TypeVar("Number", int, float)


class GpuCell(msgspec.Struct, frozen=True, gc=False):
    """One card of a row; `processes` is how many hold memory on it."""

    uuid: str
    index: int | None
    name: str | None
    state: str
    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    processes: int = 0
    users: tuple[str, ...] = ()


class FleetRow(msgspec.Struct, frozen=True, gc=False):
    """One worker of the fleet view; times are seconds since 1970, `sample_time` by the agent's own clock.

    `state`: offline | stale | degraded | gpu_lost | asleep | online, see `shown_state`.
    """

    id: str
    state: str
    problems: list[str]
    gpu_count: int
    labels: dict[str, str]
    hostname: str | None
    source: str | None
    last_seen: float | None
    sample_time: float | None
    gpus: list[GpuCell]
    utilization_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    hottest_c: int | None
    power_w: float | None
    users: list[str]


class FleetChange(msgspec.Struct, frozen=True):
    """What the fleet view is told: rows that are new or different, and workers that are gone, as of `time`."""

    time: float
    rows: list[FleetRow]
    removed: list[str]


def fleet_row(worker: Worker, now: float | None = None) -> FleetRow:
    """Return the worker's row as of `now`."""
    now = time.time() if now is None else now
    info, metrics = worker.info, worker.metrics
    readings = metrics.gpus if metrics is not None else []
    if metrics is not None:
        cells = [_cell(reading) for reading in readings]
    else:
        cells = [_unread_cell(gpu) for gpu in info.gpus] if info is not None else []
    temperatures = [gpu.temperature_c for gpu in readings if gpu.temperature_c is not None]
    utilization = [gpu.utilization_percent for gpu in readings if gpu.utilization_percent is not None]
    return FleetRow(
        id=worker.id,
        state=shown_state(worker, now),
        problems=list(worker.problems(now)),
        gpu_count=len(cells),
        labels=info.labels if info is not None else {},
        hostname=info.hostname if info is not None else None,
        source=metrics.source if metrics is not None else (info.source if info is not None else None),
        last_seen=worker.last_seen,
        sample_time=metrics.time if metrics is not None else None,
        gpus=cells,
        utilization_percent=sum(utilization) / len(utilization) if utilization else None,
        memory_used_bytes=_sum(gpu.memory_used_bytes for gpu in readings),
        memory_total_bytes=_sum(gpu.memory_total_bytes for gpu in readings),
        hottest_c=max(temperatures, default=None),
        power_w=_sum(gpu.power_w for gpu in readings),
        users=sorted({user for cell in cells for user in cell.users}),
    )


def shown_state(worker: Worker, now: float) -> str:
    """Return the worker's state as people are shown it: of one that is online, also what its cards make of it.

    `gpu_lost`: one of its cards no longer answers; `asleep`: the driver has powered down all of them.
    """
    state = worker.state(now)
    if state is not WorkerState.ONLINE or worker.metrics is None or not worker.metrics.gpus:
        return state.value
    states = {gpu.state for gpu in worker.metrics.gpus}
    if states & {"lost", "error"}:
        return "gpu_lost"
    return "asleep" if states == {"asleep"} else state.value


def _cell(reading: GpuReading) -> GpuCell:
    return GpuCell(
        uuid=reading.uuid,
        index=reading.index,
        name=reading.name,
        state=reading.state,
        utilization_percent=reading.utilization_percent,
        memory_used_bytes=reading.memory_used_bytes,
        memory_total_bytes=reading.memory_total_bytes,
        temperature_c=reading.temperature_c,
        power_w=reading.power_w,
        power_limit_w=reading.power_limit_w,
        processes=len(reading.processes),
        users=tuple(dict.fromkeys(process.user for process in reading.processes if process.user)),
    )


def _unread_cell(gpu: GpuInventory) -> GpuCell:
    return GpuCell(
        uuid=gpu.uuid, index=gpu.index, name=gpu.name, state="unknown", memory_total_bytes=gpu.memory_total_bytes
    )


def _sum(values: Iterable[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
