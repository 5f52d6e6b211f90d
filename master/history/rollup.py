"""The minutes that are still open: samples of each card, gathered until the minute is over and a while longer."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from master.history.readings import Row, readings_of
from master.history.summary import Summary, combined, fitted, summary_of_rows

MINUTE_S = 60
# A minute still takes late samples while the next one runs.
KEPT_OPEN_S = MINUTE_S
_EVICTED_AFTER_S = KEPT_OPEN_S + 5
# Samples of a card that are gathered before they are summed up, which bounds a minute of a fast worker.
_ROWS_GATHERED = 64

Cards = dict[str, Summary]


class CardMinute:
    """One card (or host) in one minute."""

    __slots__ = ("_parts", "_rows", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows = array("i")
        self._parts: list[Summary] = []

    def add(self, row: Row) -> None:
        """Take in a sample."""
        self._rows.extend(row)
        if len(self._rows) >= _ROWS_GATHERED * self._width:
            self._parts = [self.summary()]
            del self._rows[:]

    def add_summary(self, summary: Summary) -> None:
        """Take in what was kept of the same minute earlier."""
        self._parts.append(fitted(summary, self._width))

    def summary(self) -> Summary:
        """Return how the card has been so far."""
        if not self._rows:
            return combined(self._parts)
        return combined([*self._parts, summary_of_rows(self._rows, self._width)])


class WorkerMinute:
    """A worker's cards and host in one minute; `is_changed` until what is in it was taken to be kept."""

    __slots__ = ("_cards", "is_changed")

    def __init__(self) -> None:
        self._cards: dict[str, CardMinute] = {}
        self.is_changed = False

    def card(self, key: str) -> CardMinute:
        """Return the card's minute, begun where there is none; the caller adds something to it."""
        self.is_changed = True
        minute = self._cards.get(key)
        if minute is None:
            minute = self._cards[key] = CardMinute(len(readings_of(key)))
        return minute

    def summary(self, key: str) -> Summary | None:
        """Return how a card has been so far, None where there is nothing of it."""
        minute = self._cards.get(key)
        return minute.summary() if minute is not None else None

    def summaries(self) -> Cards:
        """Return all summaries, as what is to be kept."""
        self.is_changed = False
        return {key: minute.summary() for key, minute in self._cards.items()}


class OpenMinutes:
    """All open minutes, by their start (seconds since 1970) and worker."""

    def __init__(self) -> None:
        self._minutes: dict[int, dict[str, WorkerMinute]] = {}

    def minute(self, worker_id: str, at: float, now: float) -> WorkerMinute | None:
        """Return the worker's minute in which `at` lies, None where it does not take samples any more."""
        start = int(at // MINUTE_S) * MINUTE_S
        if start + MINUTE_S + KEPT_OPEN_S <= now:
            return None
        workers = self._minutes.setdefault(start, {})
        minute = workers.get(worker_id)
        if minute is None:
            minute = workers[worker_id] = WorkerMinute()
        return minute

    def of_card(self, worker_id: str, key: str) -> dict[int, Summary]:
        """Return how a card has been so far in each of these minutes."""
        return {
            start: summary
            for start, workers in self._minutes.items()
            if worker_id in workers and (summary := workers[worker_id].summary(key)) is not None
        }

    def load(self, worker_id: str, start: int, cards: Cards) -> None:
        """Go on with a minute that was kept before it was over."""
        minute = self._minutes.setdefault(start, {}).setdefault(worker_id, WorkerMinute())
        for key, summary in cards.items():
            minute.card(key).add_summary(summary)
        minute.is_changed = False

    def changed(self, now: float, *, running_too: bool = False) -> Iterator[tuple[int, str, WorkerMinute]]:
        """Give what has to be kept: minutes that are over (or all) and have taken in something since."""
        for start, workers in list(self._minutes.items()):
            if running_too or start + MINUTE_S <= now:
                yield from ((start, name, minute) for name, minute in list(workers.items()) if minute.is_changed)

    def evict(self, now: float) -> None:
        """Let go of minutes that take no samples any more, or lie ahead since the master's clock was set back."""
        for start in list(self._minutes):
            if start + MINUTE_S + _EVICTED_AFTER_S <= now or start > now + MINUTE_S:
                del self._minutes[start]

    def forget(self, worker_id: str) -> None:
        """Let go of a worker."""
        for workers in self._minutes.values():
            workers.pop(worker_id, None)
