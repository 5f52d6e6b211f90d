"""Moving workers between masters, so that each is accounted for by one of them and as little as possible is lost.

Who loses workers writes what it has of them and says so; who gains them waits for that, and goes on with what is in
the database. Between the two nobody accounts for them: everybody shows them all the while.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from gpumon.log import OncePer
from master.keeping import HandedOver
from master.peers.channel import PeerChannel
from master.peers.messages import Released
from master.peers.roster import Members, Present, keeper_of
from master.store.engine import StoreError
from master.store.writer import Writer

logger = logging.getLogger(__name__)

# How long those that lose workers are waited for. Without Redis nobody says anything, so it is waited in vain.
RELEASED_WITHIN_S = 5.0
WRITTEN_WITHIN_S = 5.0
RETRY_S = 2.0


class Keepers:
    """Who keeps which worker among some masters, seen by one of them; remembers what it has reckoned."""

    def __init__(self, own: str, members: Members) -> None:
        self.members = members
        self._own = own
        self._keepers: dict[str, str | None] = {}

    def keeper(self, worker_id: str) -> str | None:
        """Return the master that keeps the worker, None of none."""
        try:
            return self._keepers[worker_id]
        except KeyError:
            found = self._keepers[worker_id] = keeper_of(worker_id, self.members)
            return found

    def keeps(self, worker_id: str) -> bool:
        """Tell whether this master keeps the worker."""
        return self.keeper(worker_id) == self._own


class Handover:
    """Follows the masters that are there, in a thread of its own. Constructing it does nothing."""

    def __init__(self, parts: Callable[[], Sequence[HandedOver]], writer: Writer, channel: PeerChannel) -> None:
        """Take what gives the parts that do a keeper's work, in the order in which they take over."""
        self._parts = parts
        self._writer = writer
        self._channel = channel
        self._own = ""
        self._present = Keepers("", ())
        self._before = self._present
        self._wanted = self._followed = Present((), 0, was_late=False)
        self._released: dict[str, Members] = {}
        self._condition = threading.Condition()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._due = OncePer(60.0)

    @property
    def members(self) -> Members:
        """The masters among which the workers are shared out now."""
        return self._present.members

    def keeper(self, worker_id: str) -> str | None:
        """Return who keeps a worker, or is about to."""
        return self._present.keeper(worker_id)

    def keeps(self, worker_id: str) -> bool:
        """Tell whether this master accounts for a worker: it keeps it, and is not just taking it over."""
        return self._present.keeps(worker_id) and (self._before is self._present or self._before.keeps(worker_id))

    def start(self, own: str) -> None:
        """Begin, with no worker."""
        self._own = own
        self._present = self._before = Keepers(own, ())
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="peers-handover", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is kept stays kept, to be written by its parts. Safe to call twice."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(RELEASED_WITHIN_S)
            self._thread = None

    def follow(self, present: Present) -> None:
        """Share the workers out among these masters from now on."""
        with self._condition:
            if present != self._wanted:
                self._wanted = present
                self._condition.notify_all()

    def released(self, by: str, members: Members) -> None:
        """Take that a master has let go of what it does not keep among these."""
        with self._condition:
            self._released[by] = members
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._wanted != self._followed or self._is_stopping)
                if self._is_stopping:
                    return
                wanted = self._wanted
            try:
                if wanted.spell != self._followed.spell:
                    self._leave(was_late=wanted.was_late)
                if wanted.members != self._present.members:
                    self._move(Keepers(self._own, wanted.members))
                self._followed = wanted
            except Exception:
                logger.exception("workers could not be handed over; it is tried again")
                self._wait(RETRY_S)

    def _leave(self, *, was_late: bool) -> None:
        """Let go of all workers: others have them by now, or will before this master comes back to them."""
        before, nobody = self._present, Keepers(self._own, ())
        self._before = self._present = nobody
        if before.members:
            logger.warning("the other masters were out of hearing: this one leaves its workers to them, and comes back")
            self._until_done(lambda part: part.release(before.keeps, is_late=was_late))

    def _move(self, after: Keepers) -> None:
        before = self._present
        self._before, self._present = before, after
        logger.info(
            "masters that share the fleet: %s", ", ".join(after.members) or "not known, so this one keeps nothing"
        )
        self._until_done(
            lambda part: part.release(lambda name: before.keeps(name) and not after.keeps(name), is_late=False)
        )
        self._writer.flush(WRITTEN_WITHIN_S)
        self._channel.send(Released(list(after.members)))
        others = [name for name in after.members if name != self._own]
        if others and self._own not in before.members:
            self._wait_for(others, after.members)
        self._until_done(lambda part: part.take_over(lambda name: after.keeps(name) and not before.keeps(name)))
        self._before = after

    def _until_done(self, action: Callable[[HandedOver], None]) -> None:
        for part in self._parts():
            while not self._is_stopping:
                try:
                    action(part)
                    break
                except StoreError as error:
                    if self._due("store"):
                        logger.error(
                            "workers cannot be taken over from another master now, it is tried again: %s", error
                        )
                    self._wait(RETRY_S)

    def _wait_for(self, others: Sequence[str], members: Members) -> None:
        def all_released() -> bool:
            return self._is_stopping or all(self._released.get(name) == members for name in others)

        with self._condition:
            self._condition.wait_for(all_released, RELEASED_WITHIN_S)

    def _wait(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_stopping, seconds)
