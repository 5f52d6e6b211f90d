"""The fleet: every worker's latest state, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gpumon.messages import Event, Info, Metrics, Status


class WorkerState(str, Enum):
    """How a worker is shown."""

    ONLINE = "online"
    STALE = "stale"
    DEGRADED = "degraded"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as last heard of; immutable, a change makes a new one."""

    id: str
    status: Status | None = None
    info: Info | None = None
    metrics: Metrics | None = None
    metrics_payload: bytes | None = None
    last_seen: float | None = None
    clock_offset_s: float | None = None
    rejected_payloads: int = 0

    def state(self, now: float) -> WorkerState:
        """Return how the worker is at `now` (seconds since 1970)."""
        raise NotImplementedError

    def problems(self, now: float) -> list[str]:
        """Return what is wrong with the worker, one clear line each."""
        raise NotImplementedError


class Fleet:
    """All workers; safe to ask from any thread."""

    def workers(self) -> list[Worker]:
        """Return all workers, sorted by id."""
        raise NotImplementedError

    def worker(self, worker_id: str) -> Worker | None:
        """Return one worker, None where it is not known."""
        raise NotImplementedError

    def events(self, worker_id: str) -> list[tuple[float, Event]]:
        """Return the worker's last 200 events with their receive times, oldest first."""
        raise NotImplementedError
