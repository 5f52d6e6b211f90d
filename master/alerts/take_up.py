"""Going on after a restart with what was pending and firing."""

from __future__ import annotations

from collections.abc import Iterable

from gpumon.messages import Event
from master.alerts.alert_store import KeptAlert
from master.alerts.clock import Clocks
from master.alerts.findings import Findings
from master.alerts.subjects import Subject
from master.alerts.watch import Watch
from master.alerts.watches import Watches
from master.worker import Worker

# How long a worker may have had no keeper among several masters.
UNJUDGED_WITHIN_S = 15.0
# Between two masters' clocks, and until one of them has judged.
_SAME_MOMENT_S = 1.0


def take_up(
    kept: Iterable[KeptAlert], workers: Iterable[Worker], watches: Watches, findings: Findings, clocks: Clocks
) -> None:
    """Follow what was kept, oldest first, as if the master had not been away; the time without it counts for nothing.

    What is pending has lasted until its worker's last reading; where it is about the worker being away, until the
    last reading of any worker, as nobody was heard once the master was gone.
    """
    known = {worker.id: worker for worker in workers}
    last_of_any = max((worker.last_seen for worker in known.values() if worker.last_seen is not None), default=None)
    for item in kept:
        alert, worker = item.alert, known.get(item.alert.worker_id)
        watch = watches.watch(alert.worker_id)
        last = worker.last_sample if worker is not None and alert.gpu is not None else last_of_any
        subject = _subject(item, last, clocks)
        before = watch.subjects.get(alert.gpu, {}).get(alert.rule)
        if before is not None and before.alert is None:
            watch.drop(before)
            findings.is_dropped(before)
        elif before is not None:
            # Another of the same subject is of a time when the database could not be written: one goes on.
            _give_up(watch, subject, findings)
            continue
        watch.add(subject)
        if subject.alert is not None:
            findings.take_up(watch, subject)


def unjudged(
    events: Iterable[tuple[float, Event]], worker_id: str, kept: Iterable[KeptAlert], now: float
) -> list[Event]:
    """Return what happened to a worker just before it was taken over from another master, and that one has not judged.

    An event that it has judged shows in an alert that is as new. XIDs and ECC errors alone are judged by events.
    """
    lasts = [item.alert.last for item in kept if item.alert.worker_id == worker_id and item.alert.last is not None]
    lately = [(at, event) for at, event in events if at >= now - UNJUDGED_WITHIN_S]
    return [event for at, event in lately if not any(last >= at - _SAME_MOMENT_S for last in lasts)]


def _give_up(watch: Watch, subject: Subject, findings: Findings) -> None:
    if subject.alert is None:
        findings.is_dropped(subject)
    else:
        findings.take_up(watch, subject)
        findings.ends(subject, None)


def _subject(item: KeptAlert, last: float | None, clocks: Clocks) -> Subject:
    alert, now = item.alert, clocks.now()
    since = clocks.moment_of(alert.since)
    if item.is_pending:
        seen = max(since, clocks.moment_of(last)) if last is not None else since
        return Subject(alert.rule, alert.gpu, alert.id, since, seen, is_kept=True)
    return Subject(
        alert.rule,
        alert.gpu,
        alert.id,
        since,
        now,
        alert=alert,
        value=alert.value,
        is_kept=True,
        last_event=clocks.moment_of(alert.last if alert.last is not None else alert.since),
        events=alert.count,
        rises=alert.count,
    )
