"""Pushes changed rows to the fleet view, in batches whose rate falls as the fleet grows."""

from __future__ import annotations

import logging
import time
from typing import Any, Protocol

import msgspec

from master.events import WorkerChanged, WorkerRemoved
from master.fleet import Fleet
from webui.push_thread import PushThread
from webui.rows import FleetChange, fleet_row

logger = logging.getLogger(__name__)

FLEET_ROOM = "fleet"
WINDOW_PER_WORKER_S = 0.00015
SHORTEST_WINDOW_S = 0.03
LONGEST_WINDOW_S = 0.5
# At least so long as the push itself has taken, times this: a master that is short of time pushes less often.
REST_PER_PUSH = 4.0


class Rooms(Protocol):
    """Where pushes go."""

    def has_members(self, room: str) -> bool:
        """Tell whether anybody is in the room."""

    def emit(self, event: str, data: Any, room: str) -> None:
        """Send an event to everybody in the room."""


def push_window_s(workers: int, took_s: float = 0.0) -> float:
    """Return the least time between two pushes: 10 workers are seen within 30 ms, 1,000 cost seven pushes a second.

    `took_s` is what the last push has taken.
    """
    return min(max(WINDOW_PER_WORKER_S * workers, REST_PER_PUSH * took_s, SHORTEST_WINDOW_S), LONGEST_WINDOW_S)


class FleetPusher(PushThread):
    """Collects which workers changed and pushes their rows; the first change after a pause goes out at once."""

    def __init__(self, fleet: Fleet, rooms: Rooms) -> None:
        super().__init__("webui-fleet")
        self._fleet = fleet
        self._rooms = rooms
        self._changed: set[str] = set()
        self._removed: set[str] = set()

    def worker_changed(self, event: WorkerChanged) -> None:
        """Note that a worker's row is different."""
        self._note(event.worker_id, self._changed, self._removed)

    def worker_removed(self, event: WorkerRemoved) -> None:
        """Note that a worker is gone."""
        self._note(event.worker_id, self._removed, self._changed)

    def snapshot(self) -> FleetChange:
        """Return every row as it is now."""
        now = time.time()  # before anything is read: a row pushed with an older time is older for certain
        return FleetChange(now, [fleet_row(worker, now) for worker in self._fleet.workers()], [])

    def _note(self, worker_id: str, into: set[str], out_of: set[str]) -> None:
        if not self._rooms.has_members(FLEET_ROOM):
            return
        with self._wake:
            out_of.discard(worker_id)
            into.add(worker_id)
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._changed or self._removed or self._stopping.is_set())
                changed, removed = sorted(self._changed), sorted(self._removed)
                self._changed.clear()
                self._removed.clear()
            if self._stopping.is_set():
                return
            began = time.monotonic()
            try:
                workers = self._push(changed, removed)
            except Exception:
                logger.exception("the fleet view could not be updated; the next change tries again")
                workers = len(changed)
            self._stopping.wait(push_window_s(workers, time.monotonic() - began))

    def _push(self, changed: list[str], removed: list[str]) -> int:
        now = time.time()
        workers = [worker for worker in map(self._fleet.worker, changed) if worker is not None]
        change = FleetChange(now, [fleet_row(worker, now) for worker in workers], removed)
        self._rooms.emit("fleet_changed", msgspec.Raw(msgspec.json.encode(change)), FLEET_ROOM)
        return len(self._fleet.workers())
