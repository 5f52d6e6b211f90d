"""The usage that the master owns: fed by the bus, kept each minute, asked by the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

from gpumon.log import OncePer
from gpumon.settings import UsageSettings
from master.bus import EventBus
from master.events import ReadingsArrived, WorkerRemoved
from master.keeping import Keeps, keeps_all
from master.usage.amounts import Amounts
from master.usage.book import HOUR_S, KEPT_OPEN_S, Book
from master.usage.names import NOBODY, Place, place
from master.usage.pieces import Piece, pieces
from master.usage.query import LITTLE_S, USER, By, Filter, Group, Groups, Prices
from master.usage.spans import WorkerSpans
from master.usage.store import DAY_S, HOURS_KEPT_S, UsageStore

logger = logging.getLogger(__name__)

_MINUTE_S = 60.0
# A worker that says nothing for so long is let go of; its next sample is a first one.
_FORGOTTEN_AFTER_S = 4 * 3600.0
# A day is made once the last hour of it is kept.
_DAY_AFTER_S = 2 * KEPT_OPEN_S

Labels = Mapping[str, str]


class _Worker:
    """What is remembered of a worker: its cards, and the places it has with its present labels."""

    __slots__ = ("labels", "places", "spans")

    def __init__(self) -> None:
        self.spans = WorkerSpans()
        self.labels: Labels | None = None
        self.places: dict[str | None, Place] = {}


class Usage:
    """Adds up usage in memory and in the store. Constructing it does nothing; safe to ask from any thread."""

    def __init__(
        self,
        kept: UsageStore,
        bus: EventBus,
        labels_of: Callable[[str], Labels],
        settings: UsageSettings,
        clock: Callable[[], float] = time.time,
        *,
        is_shared: bool = False,
    ) -> None:
        """Take what tells a worker's present labels, and whether other masters add up some workers' usage.

        What those have of the present minute is not known here, so that answers are of the last whole one then.
        """
        self._is_shared = is_shared
        self.prices = Prices(settings.price_per_gpu_hour, settings.price_per_kwh, settings.currency)
        self._store = kept
        self._bus = bus
        self._labels_of = labels_of
        self._settings = settings
        self._clock = clock
        self._book = Book()
        self._workers: dict[str, _Worker] = {}
        self._lock = Lock()
        self._kept_minute = 0.0
        self._made_until = 0
        self._again: set[int] = set()
        self._due = OncePer(3600.0)

    @property
    def problem(self) -> str | None:
        """Why usage is not being kept, None while it is."""
        problem = self._store.problem
        return None if problem is None else f"usage is not being kept: {problem}"

    def start(self) -> None:
        """Go on with the hours that a stop has cut short, and listen. Raises StoreError."""
        if not self._is_shared:
            self.take_over(keeps_all)
        self._bus.subscribe(ReadingsArrived, self._take)
        self._bus.subscribe(WorkerRemoved, self._forget)

    def stop(self) -> None:
        """Keep the running hour as far as it has come; safe to call twice."""
        self._bus.unsubscribe(ReadingsArrived, self._take)
        self._bus.unsubscribe(WorkerRemoved, self._forget)
        self._keep()

    def take_over(self, is_gained: Keeps) -> None:
        """Go on with the open hours of these workers. Raises StoreError."""
        kept = self._store.hours_since(int((self._clock() - KEPT_OPEN_S) // HOUR_S) * HOUR_S)
        with self._lock:
            for hour, at, user, amounts in kept:
                if is_gained(at.worker_id):
                    self._book.load(hour, at, user, amounts)

    def release(self, is_lost: Keeps, *, is_late: bool) -> None:
        """Keep what these workers have in the open hours, and let go of it."""
        if not is_late:
            self._keep()
        with self._lock:
            self._book.let_go(is_lost)
            for worker_id in [name for name in self._workers if is_lost(name)]:
                del self._workers[worker_id]

    def tick(self, now: float) -> None:
        """Keep what has changed when a minute is over, and let go of what is done; called about once a second."""
        minute = now // _MINUTE_S
        if minute == self._kept_minute:
            return
        self._kept_minute = minute
        self._keep()
        with self._lock:
            self._book.close(now)
            for worker_id in [
                name for name, worker in self._workers.items() if worker.spans.last_received < now - _FORGOTTEN_AFTER_S
            ]:
                del self._workers[worker_id]
        self._make_days(now)

    def prune(self, now: float) -> None:
        """Delete what is kept longer than set; called about once an hour."""
        days_before = int(now - self._settings.days * DAY_S) // DAY_S * DAY_S
        hours_before = int(now - HOURS_KEPT_S) // DAY_S * DAY_S
        self._store.prune(max(hours_before, days_before), days_before)

    def ask(self, start: float, end: float, by: By, only: Filter) -> Groups:
        """Return what each group has in the hours that begin within [start, end). Raises StoreError."""
        return next(iter(self.ask_each([(start, end)], by, only)))

    def ask_each(self, ranges: Sequence[tuple[float, float]], by: By, only: Filter) -> Iterator[Groups]:
        """Answer for each of these ranges, one after the other. Raises StoreError."""
        with self._lock:
            open_hours = frozenset[int]() if self._is_shared else self._book.hours
            lines = self._book.lines(min(start for start, _ in ranges), max(end for _, end in ranges))
        first_hour, made_until = self._store.reach()
        if open_hours:
            made_until = min(made_until, min(open_hours) // DAY_S * DAY_S)
        asked = _Asked(by, only, self._store)
        for start, end in ranges:
            groups: Groups = {}
            for piece in pieces(start, end, first_hour, made_until):
                asked.stored(groups, piece, open_hours)
            groups = {name: group for name, group in groups.items() if group.seconds > LITTLE_S}
            for hour, at, user, amounts in lines if not self._is_shared else ():
                if start <= hour < end and only.covers(at) and only.user in (None, user):
                    _into(groups, by.name(at, user), user == NOBODY, amounts)
            yield groups

    def first_hour(self) -> int | None:
        """Return from when on days can be told by any time zone's, None where there is nothing. Raises StoreError."""
        return self._store.reach()[0]

    def workers(self) -> set[str]:
        """Return the workers of which there is usage, those that have gone too. Raises StoreError."""
        with self._lock:
            present = set(self._workers)
        return present | {at.worker_id for at in self._store.places().values()}

    def label_keys(self) -> list[str]:
        """Return the keys of all labels that workers had. Raises StoreError."""
        keys = {key for at in self._store.places().values() for key in at.labels}
        with self._lock:
            return sorted(keys.union(*(worker.labels or () for worker in self._workers.values())))

    def _take(self, event: ReadingsArrived) -> None:
        labels = self._labels_of(event.worker_id)
        now = self._clock()
        with self._lock:
            worker = self._workers.get(event.worker_id)
            if worker is None:
                worker = self._workers[event.worker_id] = _Worker()
            if worker.labels is not labels:
                worker.labels = labels
                worker.places.clear()
            for span in worker.spans.take(event.metrics, event.received):
                at = worker.places.get(span.gpu.name)
                if at is None:
                    at = worker.places[span.gpu.name] = place(event.worker_id, span.gpu.name, labels)
                self._book.add(at, span, now)

    def _keep(self) -> None:
        with self._lock:
            changed = list(self._book.take_changed())
            crowded, self._book.crowded = self._book.crowded, set()
        self._store.keep(changed)
        self._again |= {hour // DAY_S * DAY_S for hour, *_ in changed if hour < self._made_until}
        for worker_id in crowded:
            if self._due(worker_id):
                logger.warning(
                    "%s has told of too many users, models or labels in an hour: the rest is kept as others", worker_id
                )

    def _make_days(self, now: float) -> None:
        """Have days that are over added up, and those again to which something has come since."""
        over = int((now - _DAY_AFTER_S) // DAY_S) * DAY_S
        again = [day for day in self._again if day + DAY_S <= over]
        if over <= self._made_until and not again:
            return

        def done(until: int) -> None:
            self._made_until = until
            self._again.difference_update(again)

        self._store.make_days(over, again, done)

    def _forget(self, event: WorkerRemoved) -> None:
        """Let go of the worker; what was used on it stays, since it was used."""
        with self._lock:
            self._workers.pop(event.worker_id, None)


class _Asked:
    """One question to the store; places and users are looked up once for it."""

    def __init__(self, by: By, only: Filter, store: UsageStore) -> None:
        self._by = by
        self._only = only
        self._store = store
        self._is_of_users_alone = by.kind == USER and not only.is_about_places
        self._users = store.users() if by.kind == USER else {}
        self._places = {} if self._is_of_users_alone else store.places()

    def stored(self, groups: Groups, piece: Piece, without: frozenset[int]) -> None:
        """Add what is stored of a piece of time."""
        if self._is_of_users_alone:
            for number, amounts in self._store.by_user(piece.step_s, piece.start, piece.end, without):
                name = self._users.get(number)
                if name is not None and self._only.user in (None, name):
                    _into(groups, name, name == NOBODY, _signed(piece, amounts))
            return
        is_by_user = self._by.kind == USER
        rows = self._store.by_place(piece.step_s, piece.start, piece.end, without, self._only.user, apart=is_by_user)
        for place_number, who, amounts in rows:
            at = self._places.get(place_number)
            if at is None or not self._only.covers(at):
                continue
            user = self._users.get(who, "") if is_by_user else ("" if who == 0 else NOBODY)
            _into(groups, self._by.name(at, user), user == NOBODY, _signed(piece, amounts))


def _signed(piece: Piece, amounts: Amounts) -> Amounts:
    return amounts if piece.sign > 0 else [-value for value in amounts]


def _into(groups: Groups, name: str | None, is_nobody: bool, amounts: Amounts) -> None:  # noqa: FBT001 - two of them
    group = groups.get(name)
    if group is None:
        group = groups[name] = Group(name)
    group.add(is_nobody=is_nobody, more=amounts)
