"""An alert as the page and programs are shown it, the order in which alerts stand, and sums over those that fire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from master.alerts.kinds import KINDS
from master.alerts.records import Alert, Kind, Severity
from master.alerts.rules import Rule, RuleView
from master.fleet import Fleet
from master.worker import Worker

SEVERITIES = tuple(Severity)  # the gravest first
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}
SHOWN_TEXT_CHARACTERS = 1000

Place = tuple[int, float, str]
Mark = dict[str, str]


class Rules(Protocol):
    """Where rules come from."""

    def rules(self) -> list[RuleView]:
        """Return the rules as they are now."""


class AlertView(msgspec.Struct, frozen=True):
    """An alert with its card's present place and name, None where the card is not known any more.

    `value` and `threshold` are in `unit`, None where its kind has none; `side` is on which side of the threshold it
    fires, `above` or `below`. `last` is when it last happened, for what happens at one moment; `note` is what whoever
    has acknowledged it said. `actions` are the names of the commands that its rule offers. Times are seconds since
    1970.
    """

    id: str
    rule: str
    kind: Kind
    severity: Severity
    worker_id: str
    gpu: str | None
    gpu_index: int | None
    gpu_name: str | None
    state: str
    since: float
    until: float | None
    text: str
    value: float | None
    threshold: float | None
    unit: str | None
    side: str | None
    count: int
    last: float | None
    labels: dict[str, str]
    acknowledged_by: str | None
    acknowledged_at: float | None
    note: str
    silenced: bool
    actions: list[str]


class AlertCount(msgspec.Struct, frozen=True):
    """How many alerts fire, and how many of them are open: neither acknowledged nor silenced."""

    firing: int = 0
    open: int = 0


class RuleCount(msgspec.Struct, frozen=True):
    """How many alerts of one rule and severity fire, how many are open, and on how many workers."""

    rule: str
    severity: Severity
    firing: int
    open: int
    workers: int
    newest: float


def place_of(alert: Alert) -> Place:
    """Return where an alert stands among others: the gravest first, then the newest."""
    return _RANK[alert.severity], -alert.since, alert.id


def alert_views(alerts: Iterable[Alert], desk: Rules, fleet: Fleet) -> list[AlertView]:
    """Return alerts as they are shown."""
    rules = {view.name: view.rule for view in desk.rules()}
    return [_view(alert, fleet, rules.get(alert.rule)) for alert in alerts]


def counts_of(alerts: Iterable[Alert]) -> dict[str, AlertCount]:
    """Return how many fire by severity; every severity is there."""
    found = list(alerts)
    return {severity.value: _count([alert for alert in found if alert.severity is severity]) for severity in SEVERITIES}


def rules_of(alerts: Iterable[Alert]) -> list[RuleCount]:
    """Return the rules by which alerts fire: that with the gravest first, then that with the newest."""
    groups: dict[tuple[str, Severity], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.rule, alert.severity), []).append(alert)
    found = [_rule_count(rule, severity, members) for (rule, severity), members in groups.items()]
    return sorted(found, key=lambda each: (_RANK[each.severity], -each.newest, each.rule))


def marks_of(alerts: Iterable[Alert]) -> dict[str, Mark]:
    """Return by worker the gravest severity that fires on each of its cards (by uuid), and on any of it (under "")."""
    marks: dict[str, Mark] = {}
    for alert in alerts:
        mark = marks.setdefault(alert.worker_id, {})
        for where in {"", alert.gpu or ""}:
            if where not in mark or _RANK[alert.severity] < _RANK[Severity(mark[where])]:
                mark[where] = alert.severity.value
    return marks


def _view(alert: Alert, fleet: Fleet, rule: Rule | None) -> AlertView:
    facts = KINDS[alert.kind]
    index, name = _card(fleet.worker(alert.worker_id), alert.gpu) if alert.gpu is not None else (None, None)
    text = alert.text
    return AlertView(
        id=alert.id,
        rule=alert.rule,
        kind=alert.kind,
        severity=alert.severity,
        worker_id=alert.worker_id,
        gpu=alert.gpu,
        gpu_index=index,
        gpu_name=name,
        state=alert.state,
        since=alert.since,
        until=alert.until,
        text=text if len(text) <= SHOWN_TEXT_CHARACTERS else text[:SHOWN_TEXT_CHARACTERS] + "…",
        value=alert.value,
        threshold=alert.threshold,
        unit=alert.unit,
        side=_side(rule) if rule is not None and rule.kind is alert.kind else next(iter(facts.sides), None),
        count=alert.count,
        last=alert.last,
        labels=alert.labels,
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=alert.acknowledged_at,
        note=alert.acknowledged_note,
        silenced=alert.silenced,
        actions=list(rule.commands) if rule is not None else [],
    )


def _side(rule: Rule) -> str | None:
    if rule.threshold is None:
        return None
    return "below" if rule.above is None else "above"


def _count(alerts: list[Alert]) -> AlertCount:
    return AlertCount(len(alerts), sum(_is_open(alert) for alert in alerts))


def _rule_count(rule: str, severity: Severity, alerts: list[Alert]) -> RuleCount:
    workers = {alert.worker_id for alert in alerts}
    newest = max(alert.since for alert in alerts)
    return RuleCount(rule, severity, len(alerts), sum(map(_is_open, alerts)), len(workers), newest)


def _is_open(alert: Alert) -> bool:
    return alert.acknowledged_by is None and not alert.silenced


def _card(worker: Worker | None, uuid: str) -> tuple[int | None, str | None]:
    if worker is None:
        return None, None
    info = worker.info
    inventory = next((gpu for gpu in info.gpus if gpu.uuid == uuid), None) if info is not None else None
    readings = worker.metrics.gpus if worker.metrics is not None else []
    reading = next((gpu for gpu in readings if gpu.uuid == uuid), None)
    index = reading.index if reading is not None else (inventory.index if inventory is not None else None)
    name = (reading.name if reading is not None else None) or (inventory.name if inventory is not None else None)
    return index, name
