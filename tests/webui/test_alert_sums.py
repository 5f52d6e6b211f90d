"""What browsers are told of alerts: the gravest of them, sums over all, marks, and only what is different."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpumon.datafolder import DataFolder
from master.alerts.builtin import BUILT_IN
from master.alerts.records import Alert, Kind, Severity
from master.alerts.rules import Rule, RuleView
from master.bus import EventBus
from master.fleet import Fleet
from master.prepare import prepare
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer
from webui.alert_push import MOST_OF_A_RULE, MOST_PUSHED, AlertPusher, gravest, push_window_s
from webui.alert_view import alert_views, counts_of, marks_of, place_of, rules_of
from webui.rule_words import rule_words

NUMBERS = itertools.count(1)


def alert(rule: str = "hot", severity: Severity = Severity.WARNING, **changes: Any) -> Alert:
    """Return an alert that fires."""
    number = next(NUMBERS)
    values: dict[str, Any] = {"gpu": "GPU-1", "worker_id": "w1", "since": float(number), "text": "91 °C", "value": 91.0}
    values |= {"kind": Kind.TEMPERATURE, "state": "firing", "threshold": 85.0, "unit": "°C"}
    return Alert(**{"id": f"a-{number}", "rule": rule, "severity": severity, **values, **changes})


class Desk:
    """Alerts and rules as a test wants them."""

    def __init__(self, alerts: list[Alert]) -> None:
        self.alerts = alerts

    def active(self) -> list[Alert]:
        """Return those that fire."""
        return self.alerts

    def rules(self) -> list[RuleView]:
        """Return the built-in rules."""
        return [RuleView(name, rule, "built in") for name, rule in BUILT_IN.items()]


class Room:
    """Somebody who watches."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def has_members(self, _room: str) -> bool:
        """Tell whether anybody is there."""
        return True

    def emit(self, _event: str, data: Any, _room: str) -> None:
        """Take what is sent."""
        self.told.append(msgspec.json.decode(bytes(data)))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    data = DataFolder(tmp_path)
    prepare(data)
    store = Store(data)
    return Fleet(FleetStore(store, Writer(store)), EventBus())


def test_the_gravest_come_first_and_of_those_the_newest() -> None:
    note, warning, page = (alert(severity=severity) for severity in reversed(Severity))
    newer = alert(severity=Severity.PAGE)

    assert sorted([note, warning, page, newer], key=place_of) == [newer, page, warning, note]


def test_no_rule_crowds_out_the_others_and_a_push_stays_small() -> None:
    many = [alert("hot", Severity.PAGE) for _ in range(5000)]
    few = [alert("idle-held", Severity.NOTE) for _ in range(3)]

    shown = gravest(sorted([*many, *few], key=place_of))

    assert [each.rule for each in shown] == ["hot"] * MOST_OF_A_RULE + ["idle-held"] * 3
    assert len(gravest([alert(f"rule-{number}") for number in range(1000)])) == MOST_PUSHED


def test_counts_tell_what_is_open_from_what_somebody_has_seen() -> None:
    counts = counts_of([alert(), alert(acknowledged_by="olaf"), alert(silenced=True), alert(severity=Severity.PAGE)])

    assert (counts["warning"].firing, counts["warning"].open) == (3, 1)
    assert (counts["page"].firing, counts["page"].open) == (1, 1)
    assert (counts["note"].firing, counts["note"].open) == (0, 0)


def test_rules_are_summed_with_their_workers() -> None:
    [first, second] = rules_of([alert("idle-held", Severity.NOTE), alert("hot"), alert("hot", worker_id="w2")])

    assert (first.rule, first.firing, first.workers) == ("hot", 2, 2)
    assert (second.rule, second.firing, second.workers) == ("idle-held", 1, 1)


def test_a_mark_is_the_gravest_alert_of_a_card_and_of_its_worker() -> None:
    marks = marks_of(
        [
            alert(severity=Severity.NOTE, gpu="GPU-1"),
            alert(severity=Severity.WARNING, gpu="GPU-1"),
            alert(severity=Severity.PAGE, gpu="GPU-2"),
            alert(severity=Severity.NOTE, gpu=None, worker_id="w2"),
        ]
    )

    assert marks == {"w1": {"GPU-1": "warning", "GPU-2": "page", "": "page"}, "w2": {"": "note"}}


def test_an_alert_of_a_worker_that_is_gone_is_shown_with_its_rules_unit_and_actions(fleet: Fleet) -> None:
    held = alert("idle-held", Severity.NOTE, kind=Kind.IDLE_HELD, value=2.0, threshold=5.0, unit="%")

    [view] = alert_views([held], Desk([]), fleet)

    assert (view.gpu_index, view.gpu_name, view.unit, view.side) == (None, None, "%", "below")
    assert "End the idle processes" in view.actions
    assert alert_views([alert("no-such-rule")], Desk([]), fleet)[0].side == "above"


def test_only_what_is_different_is_pushed(fleet: Fleet) -> None:
    room, first, second = Room(), alert(), alert(worker_id="w2")
    desk = Desk([first, second])
    pusher = AlertPusher(desk, fleet, room)
    assert {each.id for each in pusher.snapshot().alerts} == {first.id, second.id}
    room.told.clear()

    desk.alerts = [first, alert(worker_id="w3")]
    pusher.snapshot()
    pusher.snapshot()

    [change] = room.told
    assert [each["id"] for each in change["alerts"]] == [desk.alerts[1].id]
    assert change["gone"] == [second.id]
    assert change["marks"] == {"w2": {}, "w3": {"GPU-1": "warning", "": "warning"}}


def test_the_push_window_grows_with_what_fires() -> None:
    assert push_window_s(1) == 0.1
    assert push_window_s(1000) == 0.5
    assert push_window_s(100_000) == 2.0


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (BUILT_IN["hot"], "temperature at or above 85 °C for 2 min (until below 80 °C)"),
        (BUILT_IN["worker-offline"], "worker offline for 2 min"),
        (BUILT_IN["idle-held"], "memory held while utilization is below 5 % for 15 min"),
        (BUILT_IN["power"], "power at or above 105 % of its limit for 5 min (until below 102 %)"),
        (BUILT_IN["xid-note"], "XID 13, 31, 43, 63 or 92"),
        (
            Rule("cold", Kind.TEMPERATURE, below=10.0, clear=10.0, unit="°C", labels={"rack": "3"}),
            "temperature below 10 °C, on rack=3",
        ),
    ],
)
def test_a_rule_is_said_in_words(rule: Rule, words: str) -> None:
    assert rule_words(rule) == words
