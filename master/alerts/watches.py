"""Every worker as the rules see it: samples, events and time come in, what begins, fires and ends comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gpumon.messages import Event, GpuReading, Metrics
from master.alerts.conditions import CLEAR, HOLD, MET, UNKNOWN, Plan, Read, Verdict, judge_lost, judge_unread, plan
from master.alerts.kinds import KINDS
from master.alerts.records import Kind
from master.alerts.rules import Rule
from master.alerts.subjects import FORGOTTEN_AFTER_S, Step, Subject, begin
from master.alerts.watch import Outcome, Watch
from master.worker import Worker, WorkerState, sample_patience_s

# After the master has come to the broker, agents have this long to come back as well: twice their longest pause
# between two attempts (`gpumon.link.LONGEST_RETRY_S`).
GRACE_S = 60.0
# A card's uncorrected errors are remembered while it is away; a worker that invents cards must end somewhere.
MAX_COUNTS = 512
MOST_COUNTED = 2**53
# Near its limit a card is slowed down and set free by turns, each for a second or two.
FREE_AT_LEAST_S = 30.0
# What was true of a card or its telemetry stays so until it is told otherwise; what was read may have changed.
_STAYS = frozenset({Kind.WORKER_OFFLINE, Kind.GPU_LOST})
_TICK_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class _At:
    """When a reading came, and how far apart two may be without a gap between them."""

    now: float
    patience_s: float


class Watches:
    """All workers. Not safe to share: the desk's lock guards it."""

    def __init__(self, outcome: Outcome, now: Callable[[], float], events_end_after_s: float) -> None:
        self.workers: dict[str, Watch] = {}
        self._outcome = outcome
        self._now = now
        self._events_end_after_s = events_end_after_s
        self._rules: list[Rule] = []
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._listening_since: float | None = None

    def use(self, rules: Iterable[Rule]) -> None:
        """Follow these rules from now on; what others have found ends."""
        self._rules = list(rules)
        self._plans.clear()
        for watch in self.workers.values():
            watch.plan = None
            self._replan(watch)

    def watch(self, worker_id: str) -> Watch:
        """Return the worker's watch, made where it is new."""
        found = self.workers.get(worker_id)
        if found is None:
            found = self.workers[worker_id] = Watch(worker_id, self._now())
            self._replan(found)
        return found

    def forget(self, worker_id: str) -> None:
        """Let go of a worker; what fires of it ends."""
        watch = self.workers.get(worker_id)
        if watch is not None:
            for subject in watch.each():
                self._finish(watch, subject, "the worker was removed")
            del self.workers[worker_id]

    def forget_unknown(self, known: set[str]) -> None:
        """Let go of workers that are not in the fleet; one that joined just before a restart may yet be heard of."""
        listening = self._listening_since
        if listening is not None and self._now() - listening >= GRACE_S:
            for worker_id in self.workers.keys() - known:
                self.forget(worker_id)

    def know(self, worker: Worker) -> Watch:
        """Take over the worker's labels."""
        watch = self.watch(worker.id)
        if worker.info is not watch.info:
            watch.info = worker.info
            labels = worker.info.labels if worker.info is not None else {}
            if labels != watch.labels:
                watch.labels = labels
                watch.plan = None
                self._replan(watch)
        return watch

    def take_sample(self, worker: Worker, metrics: Metrics) -> None:
        """Judge a live sample that is newer than the one before."""
        watch = self.know(worker)
        made = watch.plan or self._replan(watch)
        at = _At(self._now(), sample_patience_s(metrics.interval_s))
        for gpu in metrics.gpus:
            self._judge_card(watch, made, gpu, at)
        if watch.subjects:
            self._end_gone(watch, metrics)

    def remember(self, worker: Worker) -> None:
        """Know a worker as it was kept, so that errors that its cards have counted meanwhile are seen as such."""
        watch = self.know(worker)
        if worker.metrics is not None:
            counts = [(gpu.uuid, gpu.ecc_uncorrected) for gpu in worker.metrics.gpus]
            watch.ecc_counts.update({uuid: count for uuid, count in counts if count is not None})

    def take_event(self, worker: Worker, event: Event) -> None:
        """Judge what has happened to a worker at a moment."""
        watch = self.know(worker)
        made = watch.plan or self._replan(watch)
        gpu = event.gpu if event.gpu is not None and _has_card(worker, event.gpu) else None
        if event.kind == "xid" and event.value is not None:
            for rule in made.xids.get(event.value, ()):
                self._happen(watch, rule, gpu, event, events=1)
        elif event.kind == "ecc":
            for rule in made.ecc:
                self._happen(watch, rule, gpu, event, events=1)

    def tick(self, workers: Iterable[Worker], *, is_listening: bool, moment_of: Callable[[float], float]) -> None:
        """Judge what time alone changes: called about once a second with all workers."""
        now = self._now()
        if not is_listening:
            self._listening_since = None
        elif self._listening_since is None:
            self._listening_since = now
        for worker in workers:
            watch = self.know(worker)
            if worker.last_seen != watch.last_seen and worker.last_seen is not None:
                watch.last_seen = worker.last_seen
                watch.heard = max(watch.heard, moment_of(worker.last_seen))
            made = watch.plan or self._replan(watch)
            for rule in made.whole:
                active = watch.subjects.get(None)
                verdict = self._judge_whole(watch, worker, rule, now)
                if verdict is MET or (active is not None and rule.name in active):
                    self._observe(watch, rule, None, verdict, _At(now, _TICK_PATIENCE_S))

    def end_old(self) -> None:
        """End what has not happened again for long enough, and what nobody can tell any more; called now and then."""
        now, listening = self._now(), self._listening_since
        for watch in list(self.workers.values()):
            if not watch.subjects:
                continue
            for subject in watch.each():
                kind = self._kind_of(watch, subject)
                if kind is not None and KINDS[kind].is_event:
                    if now - subject.last_event >= self._events_end_after_s:
                        self._finish(watch, subject, None)
                elif subject.alert is not None and kind in _STAYS:
                    continue
                elif listening is not None and now - max(subject.seen, listening) >= FORGOTTEN_AFTER_S:
                    self._finish(watch, subject, "there has been no reading for 15 min")

    def _judge_whole(self, watch: Watch, worker: Worker, rule: Rule, now: float) -> Verdict:
        listening = self._listening_since
        if listening is None:
            return UNKNOWN
        if worker.status is None and worker.last_seen is None:
            return UNKNOWN  # it was never there: somebody has misspelt a worker's topic
        base = worker.last_seen if worker.last_seen is not None else worker.known_since
        state = worker.state(base + max(0.0, now - watch.heard))
        if rule.kind is Kind.TELEMETRY_BROKEN:
            if state is WorkerState.DEGRADED:
                return MET
            return CLEAR if state is WorkerState.ONLINE else UNKNOWN
        if state is not WorkerState.OFFLINE:
            return CLEAR
        return UNKNOWN if watch.heard < listening and now - listening < GRACE_S else MET

    def _judge_card(self, watch: Watch, made: Plan, gpu: GpuReading, at: _At) -> None:
        count, active = gpu.ecc_uncorrected, watch.subjects.get(gpu.uuid)
        if count is not None and count != watch.ecc_counts.get(gpu.uuid):
            self._count_ecc(watch, made, gpu, count)
        if active is None and gpu.state == "ok" and not _finds_something(made, gpu):
            return  # as nearly every card, nearly always
        if gpu.state == "ok":
            for condition in made.conditions:
                verdict = condition.judge(gpu)
                if verdict is MET or (active is not None and condition.name in active):
                    self._observe(watch, condition.rule, gpu, verdict, at, read=condition.value)
        elif active is not None:
            for condition in made.conditions:
                if condition.name in active:
                    self._observe(watch, condition.rule, gpu, judge_unread(gpu), at)
        if active is not None or gpu.state == "lost":
            self._judge_lost(watch, made, gpu, at)

    def _judge_lost(self, watch: Watch, made: Plan, gpu: GpuReading, at: _At) -> None:
        active = watch.subjects.get(gpu.uuid, {})
        verdict = judge_lost(gpu)
        for rule in made.lost:
            if verdict is MET or rule.name in active:
                self._observe(watch, rule, gpu, verdict, at)

    def _observe(
        self,
        watch: Watch,
        rule: Rule,
        gpu: GpuReading | None,
        verdict: Verdict,
        at: _At,
        *,
        read: Read | None = None,
    ) -> None:
        uuid = gpu.uuid if gpu is not None else None
        subject = watch.subjects.get(uuid, {}).get(rule.name)
        if subject is None:
            if verdict is not MET:
                return
            subject = begin(rule.name, uuid, at.now)
            watch.add(subject)
        if rule.kind is Kind.THROTTLING and subject.free_for_s(verdict, at.now) < FREE_AT_LEAST_S and verdict is CLEAR:
            return
        step = subject.observe(verdict, at.now, at.patience_s, rule.for_s)
        if gpu is not None and verdict in (MET, HOLD):
            subject.reading = gpu
            subject.value = _bounded(read(gpu)) if read is not None else None
        if step is Step.FIRES:
            self._outcome.fires(watch, rule, subject, None)
        elif step is not Step.NOTHING:
            self._finish(watch, subject, None)

    def _count_ecc(self, watch: Watch, made: Plan, gpu: GpuReading, count: int) -> None:
        before = watch.ecc_counts.get(gpu.uuid)
        if before is None and len(watch.ecc_counts) >= MAX_COUNTS:
            watch.ecc_counts.clear()
        watch.ecc_counts[gpu.uuid] = count
        if before is None:
            return  # counted before anybody looked, nobody knows when
        # NVML's volatile count begins at 0 when the driver is loaded: a lower one has counted since then.
        rise = min(count - before if count > before else count, MOST_COUNTED)
        if rise > 0:
            for rule in made.ecc:
                self._happen(watch, rule, gpu.uuid, None, rises=rise)

    def _happen(
        self, watch: Watch, rule: Rule, gpu: str | None, event: Event | None, *, events: int = 0, rises: int = 0
    ) -> None:
        """Count a moment; an ECC error is told by its event or the count, whichever is first."""
        now = self._now()
        subject = watch.subjects.get(gpu, {}).get(rule.name)
        is_new = subject is None
        if subject is None:
            subject = begin(rule.name, gpu, now)
            watch.add(subject)
        before = subject.count
        subject.events += events
        subject.rises += rises
        subject.last_event = subject.seen = now
        if event is not None and event.value is not None and rule.kind is Kind.XID:
            subject.value = float(event.value)
        if is_new:
            self._outcome.fires(watch, rule, subject, event)
        elif subject.count > before:
            self._outcome.happens_again(watch, rule, subject, event)

    def _end_gone(self, watch: Watch, metrics: Metrics) -> None:
        """End what is about cards that the worker does not have any more: replaced, or retired when they were lost."""
        if metrics.health != "ok":
            return
        present = {gpu.uuid for gpu in metrics.gpus}
        for uuid in [uuid for uuid in watch.subjects if uuid is not None and uuid not in present]:
            for subject in list(watch.subjects[uuid].values()):
                self._finish(watch, subject, "the card is not there any more")

    def _replan(self, watch: Watch) -> Plan:
        rules = [rule for rule in self._rules if rule.covers(watch.labels)]
        names = tuple(rule.name for rule in rules)
        if names not in self._plans:
            self._plans[names] = plan(rules)
        watch.plan = self._plans[names]
        for subject in watch.each():
            rule = watch.plan.rules.get(subject.rule)
            if rule is None:
                self._finish(watch, subject, "its rule was turned off or does not look at this worker any more")
            elif subject.alert is not None and subject.alert.kind is not rule.kind:
                self._finish(watch, subject, "its rule looks at something else now")
        return watch.plan

    def _finish(self, watch: Watch, subject: Subject, why: str | None) -> None:
        watch.drop(subject)
        if subject.alert is None:
            self._outcome.is_dropped(subject)
        else:
            self._outcome.ends(subject, why)

    @staticmethod
    def _kind_of(watch: Watch, subject: Subject) -> Kind | None:
        if subject.alert is not None:
            return subject.alert.kind
        rule = watch.plan.rules.get(subject.rule) if watch.plan is not None else None
        return rule.kind if rule is not None else None


def _bounded(value: float | None) -> float | None:
    """Return a reading as a number that can be kept, whatever a worker may say."""
    return None if value is None else float(min(max(value, -1e12), 1e12))


def _has_card(worker: Worker, uuid: str) -> bool:
    """Tell whether the worker has told of this card otherwise: what it invents is counted to the whole worker."""
    told = [*(worker.metrics.gpus if worker.metrics is not None else ()), *(worker.info.gpus if worker.info else ())]
    return any(gpu.uuid == uuid for gpu in told)


def _finds_something(made: Plan, gpu: GpuReading) -> bool:
    for judge in made.judges:  # noqa: SIM110 - any() with a generator takes twice as long
        if judge(gpu) is MET:
            return True
    return False
