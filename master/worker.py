"""A worker as the master knows it: what it said last, how it is at a moment, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE, GpuReading, Info, Metrics, Status

DEFAULT_INTERVAL_S = 5.0
LONGEST_INTERVAL_S = 3600.0
STALE_INTERVALS = 3
STALE_AT_LEAST_S = 10.0
OFFLINE_AFTER_S = 60.0
CLOCK_TOLERANCE_S = 5.0
# From this utilization on a card is busy: a driver's own work stays below it.
BUSY_FROM_PERCENT = 5


class WorkerState(str, Enum):
    """How a worker is shown."""

    ONLINE = "online"
    STALE = "stale"
    DEGRADED = "degraded"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as last heard of; immutable, a change makes a new one.

    `last_seen` is when the master last received something live from it (its clock, seconds since 1970); a retained
    message is no sign of life, it counts only as of its own `time`, where that is later and not in the future.
    `last_sample` is the same for samples alone. `known_since` is when this master first met the worker, whatever it
    met it by. `clock_offset_s` is how far the worker's clock is ahead, from its last live sample.
    """

    id: str
    status: Status | None = None
    info: Info | None = None
    metrics: Metrics | None = None
    metrics_payload: bytes | None = None
    last_seen: float | None = None
    last_sample: float | None = None
    known_since: float = 0.0
    clock_offset_s: float | None = None
    rejected_payloads: int = 0
    last_rejection: str | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two samples, as the worker says."""
        source = self.metrics or self.info
        return min(source.interval_s, LONGEST_INTERVAL_S) if source else DEFAULT_INTERVAL_S

    def told_status(self, status: Status, received: float, *, retained: bool) -> Worker:
        """Return the worker with this status; a live `online` is a sign of life."""
        is_alive = status == STATUS_ONLINE and not retained
        return replace(self, status=status, last_seen=received if is_alive else self.last_seen)

    def told_info(self, info: Info, received: float, *, retained: bool) -> Worker:
        """Return the worker with this inventory."""
        return replace(self, info=info, last_seen=self.last_seen if retained else received)

    def told_sample(self, metrics: Metrics, payload: bytes, received: float, *, retained: bool) -> Worker:
        """Return the worker with this sample; a retained one is as old as it says, where that is not in the future."""
        if retained:
            said = metrics.time if metrics.time <= received else None
            seen, sampled = _later(self.last_seen, said), _later(self.last_sample, said)
            offset = self.clock_offset_s
        else:
            seen = sampled = received
            offset = metrics.time - received
        return replace(
            self,
            metrics=metrics,
            metrics_payload=payload,
            last_seen=seen,
            last_sample=sampled,
            clock_offset_s=offset,
        )

    def state(self, now: float) -> WorkerState:
        """Return how the worker is at `now` (seconds since 1970).

        Offline: it (or its will) said so, or nothing came for a minute and 3 intervals. Stale: no sample for 3
        intervals, 10 s at least. Degraded: it says itself that its telemetry is broken.
        """
        heard = self.last_seen
        if heard is None and self.status == STATUS_ONLINE:
            heard = self.known_since
        if self.status == STATUS_OFFLINE or heard is None:
            return WorkerState.OFFLINE
        patience_s = STALE_INTERVALS * self.interval_s
        if now - heard > OFFLINE_AFTER_S + patience_s:
            return WorkerState.OFFLINE
        sampled = self.last_sample if self.last_sample is not None else heard
        if now - sampled > sample_patience_s(self.interval_s):
            return WorkerState.STALE
        if self.metrics is not None and self.metrics.health == "degraded":
            return WorkerState.DEGRADED
        return WorkerState.ONLINE

    def problems(self, now: float) -> list[str]:
        """Return what is wrong with the worker, one clear line each, the gravest first."""
        lines = []
        state = self.state(now)
        if state is WorkerState.STALE:
            lines.append(f"no sample for {_duration(now - (self.last_sample or self.last_seen or self.known_since))}")
        if self.metrics is not None:
            if self.metrics.health == "degraded":
                lines.append(self.metrics.problem or "its telemetry is broken")
            lines += [line for gpu in self.metrics.gpus if (line := _gpu_problem(gpu))]
        offset = self.clock_offset_s
        if offset is not None and abs(offset) > CLOCK_TOLERANCE_S:
            side = "ahead of" if offset > 0 else "behind"
            lines.append(f"its clock is {_duration(abs(offset))} {side} the master's: set both by NTP (chrony)")
        if self.rejected_payloads:
            plural = "payload was" if self.rejected_payloads == 1 else "payloads were"
            lines.append(f"{self.rejected_payloads} {plural} not valid and ignored, the last: {self.last_rejection}")
        return lines


def sample_patience_s(interval_s: float) -> float:
    """Return for how long nothing is missing without a sample, from a worker that takes one each `interval_s`."""
    return max(STALE_INTERVALS * min(interval_s, LONGEST_INTERVAL_S), STALE_AT_LEAST_S)


def _later(one: float | None, other: float | None) -> float | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _gpu_problem(gpu: GpuReading) -> str | None:
    if gpu.state not in ("lost", "error"):
        return None
    name = f"{gpu.name} {gpu.uuid}" if gpu.name else gpu.uuid
    return f"{name} does not answer any more" if gpu.state == "lost" else f"{name} cannot be read"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} days"
