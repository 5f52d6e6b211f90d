"""The history that the master owns: fed by the bus, moved on by the clock, asked by the page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from gpumon.log import OncePer
from gpumon.messages import Metrics
from gpumon.settings import HistorySettings
from master.bus import EventBus
from master.events import HistoryProblemChanged, ReadingsArrived, WorkerRemoved
from master.history.placing import SampleClock
from master.history.query import Answer, Question
from master.history.raw import RawMemory
from master.history.raw_query import raw_answer
from master.history.readings import GPU_QUANTISER, HOST, HOST_QUANTISER
from master.history.resolutions import FOLDED_S, HOURS, RESOLUTIONS, Resolution, kept_s
from master.history.rolled_query import rolled_answer, span_of
from master.history.rollup import MINUTE_S, OpenMinutes
from master.history.store import HistoryStore, Kept
from master.keeping import Keeps, keeps_all
from master.store.engine import Store
from master.store.writer import Writer

logger = logging.getLogger(__name__)

# Cards of a worker that are followed at once: a machine has up to 16, and a worker that invents ids must end somewhere.
MAX_CARDS = 512
# An hour's minutes are folded once late samples cannot come any more, spread over about twenty minutes.
FOLD_AFTER_S = 300.0
FOLD_WITHIN_S = 1200.0
_FOLD_PATIENCE_S = 60.0
_TRIM_EACH_S = 10.0


class History:
    """Raw samples in memory and roll-ups in the store. Constructing it does nothing; safe to ask from any thread."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        bus: EventBus,
        settings: HistorySettings,
        clock: Callable[[], float] = time.time,
        *,
        elsewhere: Callable[[Question], Answer | None] | None = None,
    ) -> None:
        """Take what asks the master that keeps a worker, where several share the fleet; None where there is none.

        It answers None where this master keeps the worker itself, or the other does not answer.
        """
        self.repeated_samples = 0
        self._elsewhere = elsewhere
        self.late_samples = 0
        self._store = HistoryStore(store, writer)
        self._writer = writer
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._raw = RawMemory(settings.raw_memory_mib * 2**20, settings.raw_window_s)
        self._open = OpenMinutes()
        self._clocks: dict[str, SampleClock] = {}
        self._cards: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._trimmed = 0.0
        self._fold_asked: float | None = None
        self._folded_until = 0
        self._told_problem: str | None = None
        self._due = OncePer(60.0)

    @property
    def problem(self) -> str | None:
        """Why history is not being kept, None while it is."""
        problem = self._store.problem
        return None if problem is None else f"history is not being kept: {problem}"

    @property
    def raw_window_s(self) -> float:
        """For how long raw samples are kept in memory at present."""
        return self._raw.window_s

    @property
    def raw_bytes(self) -> int:
        """What the raw samples take in memory."""
        with self._lock:
            return self._raw.used_bytes

    def start(self) -> None:
        """Go on with the minutes that a stop has cut short, and listen. Raises StoreError."""
        if self._elsewhere is None:
            self.take_over(keeps_all)
        self._bus.subscribe(ReadingsArrived, self._take)
        self._bus.subscribe(WorkerRemoved, self._forget)

    def stop(self) -> None:
        """Keep the running minute as far as it has come; safe to call twice."""
        self._bus.unsubscribe(ReadingsArrived, self._take)
        self._bus.unsubscribe(WorkerRemoved, self._forget)
        self._keep_changed(self._clock(), running_too=True)

    def take_over(self, is_gained: Keeps) -> None:
        """Go on with the open minutes of these workers. Raises StoreError."""
        since = int(self._clock() // MINUTE_S - 1) * MINUTE_S
        kept = [minute for minute in self._store.minutes_since(since) if is_gained(minute[0])]
        with self._lock:
            for worker_id, start, cards in kept:
                self._open.load(worker_id, start, cards)

    def release(self, is_lost: Keeps, *, is_late: bool) -> None:
        """Keep the running minute of these workers as far as it has come, and let go of it, and of their samples."""
        if not is_late:
            self._keep_changed(self._clock(), running_too=True)
        with self._lock:
            for worker_id in [name for name in self._clocks.keys() | self._cards.keys() if is_lost(name)]:
                self._let_go(worker_id)

    def tick(self, now: float) -> None:
        """Keep minutes that are over, let go of what is too old, fold; called about once a second."""
        self._keep_changed(now)
        self._tell_problem()
        with self._lock:
            self._open.evict(now)
            if abs(now - self._trimmed) >= _TRIM_EACH_S:
                self._trimmed = now
                self._raw.trim(now)
                self._forget_old_cards(now)
        self._fold_some(now)

    def prune(self, now: float) -> None:
        """Delete what is kept longer than set; called about once an hour."""
        self._store.prune([(resolution, now - kept_s(resolution, self._settings)) for resolution in RESOLUTIONS])

    def ask(self, question: Question) -> Answer:
        """Return a card's or host's history. Raises StoreError."""
        told = self._elsewhere(question) if self._elsewhere is not None else None
        return told if told is not None else self.ask_here(question)

    def ask_here(self, question: Question) -> Answer:
        """Answer with what this master and the database have. Raises StoreError."""
        now = self._clock()
        question = self._clipped(question, now)
        resolution = self._resolution(question, now)
        if resolution is None:
            with self._lock:
                card = self._raw.card(question.worker_id, question.key)
                samples = card.copy() if card is not None else None
            return raw_answer(question, samples)
        return rolled_answer(question, resolution, self._stored(question, resolution))

    def _stored(self, question: Question, resolution: Resolution) -> Kept:
        """Return what is stored of the time asked for, and what has come since."""
        start, end = span_of(question, resolution)
        kept = self._store.read(question.worker_id, question.key, resolution, start, end)
        with self._lock:
            running = self._open.of_card(question.worker_id, question.key)
        kept.minutes.update({at: summary for at, summary in running.items() if start <= at < end})
        return kept

    def cards(self, worker_id: str) -> set[str]:
        """Return the keys of which there is a history: the worker's cards, those that have gone too, and its host.

        Raises StoreError.
        """
        stored = self._store.cards(worker_id)
        with self._lock:
            return stored | set(self._cards.get(worker_id, ()))

    def _clipped(self, question: Question, now: float) -> Question:
        """Return the question without the time in which nothing can be kept, which may be thousands of years."""
        earliest = now - kept_s(HOURS, self._settings) - HOURS.block_s
        start, end = min(max(question.start, earliest), now), min(question.end, now + MINUTE_S)
        return replace(question, start=start, end=end if end > start else start + 1)

    def _resolution(self, question: Question, now: float) -> Resolution | None:
        """Choose the coarsest resolution that gives the points asked for, or a coarser one that is kept long enough.

        None stands for the raw samples.
        """
        step_s = question.step_s
        if step_s < MINUTE_S and self._raw_reaches(question):
            return None
        fine_enough = [resolution for resolution in RESOLUTIONS if resolution.step_s <= step_s]
        place = max(len(fine_enough) - 1, 0)
        for resolution in RESOLUTIONS[place:]:
            # A resolution is kept by whole blocks, so it reaches a little further than it is set to.
            if question.start >= now - kept_s(resolution, self._settings) - resolution.step_s:
                return resolution
        return RESOLUTIONS[-1]

    def _raw_reaches(self, question: Question) -> bool:
        """Tell whether all that there is of the time asked for is in memory."""
        with self._lock:
            card = self._raw.card(question.worker_id, question.key)
            first = card.first if card is not None else None
        if first is None:
            return False
        if question.start >= first:
            return True
        kept = self._store.read(
            question.worker_id, question.key, RESOLUTIONS[0], int(question.start), int(first) - MINUTE_S
        )
        return first <= question.end and not kept.minutes and not kept.blocks

    def _take(self, event: ReadingsArrived) -> None:
        metrics, received = event.metrics, event.received
        with self._lock:
            clock = self._clocks.get(event.worker_id)
            if clock is None:
                clock = self._clocks[event.worker_id] = SampleClock()
            at = clock.place(metrics.time, metrics.seq, received)
            if at is None:
                self.repeated_samples += 1
                return
            self._take_at(event.worker_id, metrics, at, received)

    def _take_at(self, worker_id: str, metrics: Metrics, at: float, received: float) -> None:
        minute = self._open.minute(worker_id, at, received)
        if minute is None:
            self.late_samples += 1
            return
        seen = self._cards.setdefault(worker_id, {})
        rows = [(gpu.uuid, GPU_QUANTISER.row(gpu)) for gpu in metrics.gpus if gpu.uuid]
        if metrics.host is not None:
            rows.append((HOST, HOST_QUANTISER.row(metrics.host)))
        for key, row in rows:
            if row is None:
                continue
            if key not in seen and len(seen) >= MAX_CARDS:
                if self._due(worker_id):
                    logger.warning("%s has told of %d cards: no history is kept of more", worker_id, MAX_CARDS)
                continue
            seen[key] = at
            minute.card(key).add(row)
            self._raw.add(worker_id, key, at, row, metrics.interval_s)

    def _keep_changed(self, now: float, *, running_too: bool = False) -> None:
        with self._lock:
            changed = list(self._open.changed(now, running_too=running_too))
        for start, worker_id, minute in changed:
            with self._lock:
                cards = minute.summaries()
            self._store.keep_minute(worker_id, start, cards)

    def _tell_problem(self) -> None:
        problem = self.problem
        if problem != self._told_problem:
            self._told_problem = problem
            self._bus.publish(HistoryProblemChanged(problem))

    def _fold_some(self, now: float) -> None:
        before = int((now - FOLD_AFTER_S) // FOLDED_S) * FOLDED_S
        # A job that the writer could not even begin is dropped: it is asked for again after a while.
        is_underway = self._fold_asked is not None and abs(now - self._fold_asked) < _FOLD_PATIENCE_S
        if is_underway or before <= self._folded_until:
            return
        self._fold_asked = now
        batch = 1 + int(len(self._clocks) / FOLD_WITHIN_S)

        def job(connection: Connection) -> bool:
            try:
                if not all(self._store.fold(connection, before) for _ in range(batch)):
                    self._folded_until = before
            finally:
                self._fold_asked = None
            return False

        self._writer.run(job)

    def _forget(self, event: WorkerRemoved) -> None:
        with self._lock:
            self._let_go(event.worker_id)
        self._store.forget(event.worker_id)

    def _let_go(self, worker_id: str) -> None:
        self._raw.forget(worker_id)
        self._open.forget(worker_id)
        self._clocks.pop(worker_id, None)
        self._cards.pop(worker_id, None)

    def _forget_old_cards(self, now: float) -> None:
        for worker_id, seen in list(self._cards.items()):
            for key in [key for key, at in seen.items() if at < now - self._settings.raw_window_s]:
                del seen[key]
            if not seen:
                del self._cards[worker_id]
                self._clocks.pop(worker_id, None)
