"""The hours that are still open: amounts by hour, worker, place and user, added up in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from master.usage.amounts import Amounts, add, nothing
from master.usage.names import NOBODY, OTHERS, Place, place
from master.usage.sharing import Split, split
from master.usage.spans import Span

HOUR_S = 3600
# An hour still takes late samples for a while after its end.
KEPT_OPEN_S = 300
# Places and users of a worker that are kept apart in one hour.
MAX_LINES = 256
_MIB = 2.0**20

Line = tuple[Place, str]
"""A place and a user."""


@dataclass(slots=True)
class WorkerHour:
    """One worker in one hour; `changed` are the lines that were added to since they were last kept."""

    lines: dict[Line, Amounts]
    changed: set[Line]

    def line(self, at: Place, user: str) -> Amounts | None:
        """Return what is added up for a user at a place, None where there are too many already."""
        key = (at, user)
        amounts = self.lines.get(key)
        if amounts is None:
            if len(self.lines) >= MAX_LINES and user != OTHERS:
                return None
            amounts = self.lines[key] = nothing()
        self.changed.add(key)
        return amounts


class Book:
    """All open hours, by their start (seconds since 1970) and worker. Not safe to share."""

    def __init__(self) -> None:
        self.crowded: set[str] = set()
        self._hours: dict[int, dict[str, WorkerHour]] = {}

    @property
    def hours(self) -> frozenset[int]:
        """The open hours."""
        return frozenset(self._hours)

    def add(self, at: Place, span: Span, now: float) -> None:
        """Add what a card did in a span, each part of it to the hour in which it lies."""
        shared = split(span.gpu)
        hour = int(span.start // HOUR_S) * HOUR_S
        whole_s = span.end - span.start
        while hour < span.end:
            seconds = min(span.end, hour + HOUR_S) - max(span.start, hour)
            if seconds > 0 and hour + HOUR_S + KEPT_OPEN_S > now:  # else it comes too late for its hour
                energy_j = None if span.energy_j is None else span.energy_j * (seconds / whole_s)
                self._add(hour, at, portions(shared, seconds, energy_j))
            hour += HOUR_S

    def _add(self, hour: int, at: Place, by_user: Iterable[tuple[str, Sequence[float]]]) -> None:
        workers = self._hours.setdefault(hour, {})
        worker = workers.get(at.worker_id)
        if worker is None:
            worker = workers[at.worker_id] = WorkerHour({}, set())
        for user, more in by_user:
            amounts = worker.line(at, user)
            if amounts is None:
                self.crowded.add(at.worker_id)
                amounts = worker.line(place(at.worker_id, OTHERS, {}), OTHERS)
            if amounts is not None:
                add(amounts, more)

    def load(self, hour: int, at: Place, user: str, amounts: Amounts) -> None:
        """Go on with what was kept of an hour before it was over."""
        worker = self._hours.setdefault(hour, {}).setdefault(at.worker_id, WorkerHour({}, set()))
        add(worker.lines.setdefault((at, user), nothing()), amounts)

    def let_go(self, is_lost: Callable[[str], bool]) -> None:
        """Let go of what these workers have in the open hours."""
        for workers in self._hours.values():
            for worker_id in [name for name in workers if is_lost(name)]:
                del workers[worker_id]

    def take_changed(self) -> Iterator[tuple[int, Place, str, Amounts]]:
        """Give the lines that have to be kept."""
        for hour, workers in self._hours.items():
            for worker in workers.values():
                for line in worker.changed:
                    yield hour, *line, list(worker.lines[line])
                worker.changed.clear()

    def lines(self, start: float, end: float) -> list[tuple[int, Place, str, Amounts]]:
        """Return all lines of the open hours that begin within [start, end)."""
        return [
            (hour, at, user, list(amounts))
            for hour, workers in self._hours.items()
            if start <= hour < end
            for worker in workers.values()
            for (at, user), amounts in worker.lines.items()
        ]

    def close(self, now: float) -> None:
        """Let go of hours that take nothing more.

        Those that lie ahead since the master's clock was set back stay: what comes in them once more is added.
        """
        for hour in list(self._hours):
            if hour + HOUR_S + KEPT_OPEN_S <= now:
                del self._hours[hour]


def portions(shared: Split, seconds: float, energy_j: float | None) -> Iterator[tuple[str, Sequence[float]]]:
    """Give each user's part of some seconds of a card, and of the energy that it took in them (None: not known)."""
    metered_s = 0.0 if energy_j is None else seconds
    for user in {**shared.held, **shared.worked}:
        held, worked = shared.held.get(user, 0.0), shared.worked.get(user, 0.0)
        yield (
            user,
            (
                seconds * held,
                seconds * worked if shared.is_busy else 0.0,
                seconds * held if shared.is_busy is False and user != NOBODY else 0.0,
                0.0 if shared.is_busy is None else seconds * held,
                metered_s * held,
                seconds * shared.memory_bytes.get(user, 0.0) / _MIB,
                (energy_j or 0.0) * worked,
            ),
        )
