"""What people do about alerts: see them, acknowledge, silence, change rules; and that it is in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpumon.datafolder import DataFolder
from master.alerts.builtin import BUILT_IN
from master.alerts.errors import AlertError
from master.alerts.records import Severity
from master.alerts.rule_parsing import parse_rule
from master.events import AlertRulesChanged
from tests.master.alerts.support import ANNA, World, hot, process, world
from tests.master.support import gpu


@pytest.fixture
def desk(data: DataFolder) -> Iterator[World]:
    """A desk with the built-in rules and one worker that is online, on each kind of database."""
    with world(data) as made:
        made.comes_online()
        yield made


def audit(desk: World) -> list[tuple[str, str, Any]]:
    """Who did what: action, who, subject."""
    with desk.store.read() as connection:
        rows = connection.exec_driver_sql("SELECT action, who, subject FROM audit ORDER BY seq").all()
    return [tuple(row) for row in rows]


def test_alerts_are_listed_the_gravest_first_then_the_newest(desk: World) -> None:
    desk.samples(gpu(0), gpu(1))
    desk.happens("xid", 31)
    desk.wait(1)
    desk.happens("xid", 79)
    desk.wait(1)
    desk.happens("xid", 79, gpu="GPU-1")
    listed = [(alert.severity, alert.gpu) for alert in desk.desk.active()]
    assert listed == [(Severity.PAGE, "GPU-1"), (Severity.PAGE, "GPU-0"), (Severity.NOTE, "GPU-0")]


def test_an_alert_carries_its_workers_labels(desk: World) -> None:
    desk.samples(gpu())
    desk.happens("xid", 79)
    assert desk.desk.active()[0].labels == {"rack": "3"}


def test_an_alert_can_be_acknowledged_with_a_note_and_that_taken_back(desk: World) -> None:
    desk.samples(gpu())
    desk.happens("xid", 79)
    desk.settle()
    alert = desk.desk.acknowledge(desk.desk.active()[0].id, ANNA, "ordered another")
    assert (alert.acknowledged_by, alert.acknowledged_at, alert.acknowledged_note) == (
        "anna",
        desk.wall(),
        "ordered another",
    )
    assert desk.settle() == [alert]
    assert desk.desk.unacknowledge(alert.id, ANNA).acknowledged_by is None
    assert [(action, who) for action, who, _ in audit(desk)] == [
        ("alert.acknowledged", "anna"),
        ("alert.unacknowledged", "anna"),
    ]


def test_what_is_over_or_never_was_cannot_be_acknowledged(desk: World) -> None:
    desk.reads(125, hot(90))
    alert = desk.desk.active()[0]
    desk.samples(hot(40))
    desk.settle()
    with pytest.raises(AlertError, match=f"alert {alert.id} is over: there is nothing to acknowledge any more"):
        desk.desk.acknowledge(alert.id, ANNA)
    with pytest.raises(AlertError, match="there is no alert 'a-1'"):
        desk.desk.acknowledge("a-1", ANNA)
    with pytest.raises(AlertError, match="the note has 501 characters, 500 at most are kept"):
        desk.desk.acknowledge(alert.id, ANNA, "x" * 501)


def test_a_silence_marks_what_it_covers_until_it_ends(desk: World) -> None:
    desk.samples(gpu())
    desk.happens("xid", 79)
    desk.settle()
    silence = desk.desk.silence(until=desk.wall() + 60, reason="being repaired", by=ANNA, worker_id="w1")
    assert [alert.silenced for alert in desk.settle()] == [True]
    desk.happens("xid", 31)
    assert [(alert.rule, alert.silenced) for alert in desk.settle()] == [("xid-note", True)]
    desk.wait(70)
    assert {(alert.rule, alert.silenced) for alert in desk.settle()} == {("xid-critical", False), ("xid-note", False)}
    assert desk.desk.silences() == []
    assert audit(desk) == [("silence.made", "anna", silence.id)]


def test_a_silence_can_be_ended_and_does_not_reach_further_than_it_says(desk: World) -> None:
    desk.comes_online("w2", labels={"rack": "4"})
    desk.samples(gpu())
    desk.samples(gpu(), worker_id="w2")
    desk.happens("xid", 79)
    desk.happens("xid", 79, worker_id="w2")
    made = desk.desk.silence(until=desk.wall() + 60, reason="", by=ANNA, labels={"rack": "4"}, rule="xid-critical")
    assert {alert.worker_id: alert.silenced for alert in desk.desk.active()} == {"w1": False, "w2": True}
    assert desk.desk.silences() == [made]
    desk.desk.end_silence(made.id, ANNA)
    assert not any(alert.silenced for alert in desk.desk.active())
    with pytest.raises(AlertError, match=f"there is no silence '{made.id}': it has ended already"):
        desk.desk.end_silence(made.id, ANNA)


def test_a_silence_goes_on_after_a_restart(data: DataFolder) -> None:
    with world(data) as first:
        first.comes_online()
        first.samples(gpu())
        first.happens("xid", 79)
        made = first.desk.silence(until=first.wall() + 3600, reason="repair", by=ANNA)
        first.settle()
    second = World(data)
    assert second.desk.silences() == [made]
    assert [alert.silenced for alert in second.desk.active()] == [True]
    assert second.settle() == []
    second.stop()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"until": 5.0}, "a silence cannot end at 5.0: give a time from now on, within a year"),
        ({"until": 1e12}, "within a year"),
        ({"reason": "x" * 501}, "the reason has 501 characters"),
        ({"rule": "hott"}, "there is no rule 'hott' to be silenced"),
    ],
)
def test_a_silence_that_cannot_be_used_is_refused(desk: World, wrong: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"until": desk.wall() + 60, "reason": "repair", "by": ANNA} | wrong
    with pytest.raises(AlertError, match=sentence):
        desk.desk.silence(**given)
    assert desk.desk.silences() == []


def test_the_past_can_be_paged_through_and_searched(desk: World) -> None:
    for number in range(7):
        desk.reads(0, gpu())
        desk.happens("xid", 79 if number % 2 else 31)
        desk.reads(3605, gpu())
    desk.settle()
    found: list[str] = []
    before = None
    while page := desk.desk.past(3, before):
        found += [alert.id for alert in page]
        before = page[-1].id
    assert len(found) == len(set(found)) == 7
    assert [alert.severity for alert in desk.desk.past(10, severity=Severity.PAGE)] == [Severity.PAGE] * 3
    assert len(desk.desk.past(10, rule="xid-note", worker_id="w1", gpu="GPU-0")) == 4
    assert desk.desk.past(10, worker_id="w2") == []
    alert = desk.desk.past(1)[0]
    assert desk.desk.alert(alert.id) == alert
    assert alert.state == "resolved"
    assert desk.desk.actions(alert.id) == []
    with pytest.raises(AlertError, match="there is no alert 'a-1'"):
        desk.desk.past(3, "a-1")


def test_alerts_that_are_over_are_kept_for_as_long_as_set(data: DataFolder) -> None:
    with world(data, keep_days=1) as desk:
        desk.comes_online()
        desk.samples(gpu())
        desk.happens("xid", 79)
        desk.reads(3605, gpu())
        desk.settle()
        desk.desk.prune()
        desk.settle()
        assert len(desk.desk.past(10)) == 1
        desk.passed += 90_000
        desk.desk.prune()
        desk.settle()
        assert desk.desk.past(10) == []


def test_a_rule_from_the_page_holds_at_once_and_after_a_restart(data: DataFolder) -> None:
    with world(data, {"hot": {"above": 88}}) as first:
        changes: list[AlertRulesChanged] = []
        first.bus.subscribe(AlertRulesChanged, changes.append)
        first.comes_online()
        view = first.desk.put_rule(parse_rule("hot", {"above": 50, "for_s": 0}, first.desk.rule("hot")), ANNA)
        assert (view.origin, view.changed_by, view.can_be_reset) == ("page", "anna", True)
        assert len(changes) == 1
        first.samples(hot(60))
        assert first.firing == [("hot", "w1", "GPU-0")]
        first.settle()
    second = World(data, {"hot": {"above": 88}})
    assert second.firing == [("hot", "w1", "GPU-0")]
    second.desk.delete_rule("hot", ANNA)
    rule = second.desk.rule("hot")
    assert rule is not None
    assert rule.above == 88
    second.samples(hot(60))
    assert second.firing == []
    assert [(action, subject) for action, _, subject in audit(second)] == [
        ("alert_rule.changed", "hot"),
        ("alert_rule.removed", "hot"),
    ]
    second.stop()


def test_turning_a_rule_off_ends_what_it_has_found(desk: World) -> None:
    desk.reads(125, hot(90, 0), hot(90, 1))
    desk.settle()
    desk.desk.put_rule(parse_rule("hot", {"enabled": False}, BUILT_IN["hot"]), ANNA)
    assert desk.firing == []
    ended = desk.settle()
    assert [alert.state for alert in ended] == ["resolved", "resolved"]
    assert ended[0].text.endswith("(ended: its rule was turned off or does not look at this worker any more)")
    desk.reads(200, hot(90))
    assert desk.firing == []


def test_a_rule_that_the_page_has_not_made_cannot_be_deleted_there(tmp_path: Path) -> None:
    with world(tmp_path / "data", {"vault": {"kind": "power", "above": "300 W"}}) as desk:
        for name, sentence in (
            ("hot", r"rule hot is built in: turn it off \(enabled = false\)"),
            ("vault", r"rule vault stands in gpumon\.toml: turn it off"),
            ("hott", "there is no rule 'hott'"),
        ):
            with pytest.raises(AlertError, match=sentence):
                desk.desk.delete_rule(name, ANNA)


def test_a_kept_rule_that_cannot_be_read_any_more_is_shown_with_its_problem_and_the_other_is_used(
    tmp_path: Path,
) -> None:
    with world(tmp_path / "data") as first:
        first.desk.put_rule(parse_rule("mine", {"kind": "temperature", "above": 50}), ANNA)
        first.desk.put_rule(parse_rule("hot", {"above": 50}, BUILT_IN["hot"]), ANNA)
        with first.store.write() as connection:
            broken = msgspec.json.encode({"kind": "humidity"}).decode()
            connection.exec_driver_sql("UPDATE alert_rules SET rule = ?", (broken,))
    second = World(tmp_path / "data")
    views = {view.name: view for view in second.desk.rules()}
    assert (views["hot"].rule, views["hot"].origin) == (BUILT_IN["hot"], "built in")
    assert (views["mine"].rule, views["mine"].origin) == (None, "page")
    assert views["mine"].problem is not None
    assert views["mine"].problem.startswith("rule mine: kind 'humidity' cannot be used: expected one of worker_offline")
    second.desk.delete_rule("mine", ANNA)
    assert "mine" not in {view.name for view in second.desk.rules()}
    second.stop()


def test_labels_limit_a_rule_and_follow_the_workers_labels(tmp_path: Path) -> None:
    rules = {"hot": {"enabled": False}, "warm": {"kind": "temperature", "above": 50, "labels": {"rack": "3"}}}
    with world(tmp_path / "data", rules) as desk:
        desk.comes_online("w1", labels={"rack": "3", "room": "a"})
        desk.comes_online("w2", labels={"rack": "4"})
        desk.samples(hot(60))
        desk.samples(hot(60), worker_id="w2")
        assert desk.firing == [("warm", "w1", "GPU-0")]
        desk.comes_online("w1", labels={"rack": "4"})
        desk.wait(1)
        assert desk.firing == []


@pytest.mark.sqlite
def test_an_alert_is_told_even_where_the_database_cannot_be_written(desk: World) -> None:
    desk.samples(gpu())
    with desk.store.write():  # holds the write lock
        desk.happens("xid", 79)
        desk.wait(4)
        assert desk.told == []
        desk.wait(2)
        assert [alert.rule for alert in desk.told] == ["xid-critical"]
    desk.settle()
    assert desk.desk.alert(desk.desk.active()[0].id) is not None


HELD = gpu(utilization_percent=0, processes=[process(41, user="ann b"), process(42), process(7, type="graphics")])


def test_an_action_is_filled_in_for_the_processes_that_are_there_now(desk: World) -> None:
    desk.reads(905, HELD)
    alert_id = desk.desk.active()[0].id
    tell, end = desk.desk.actions(alert_id)
    assert (end.name, end.worker_id, end.command) == ("End the idle processes", "w1", "kill 41 42")
    assert tell.command is not None
    assert tell.command.startswith("for user in 'ann b' research; do printf ")
    assert "} 0 w1 | write" not in tell.command
    assert " 0 w1 | write " in tell.command
    busy = process(43, sm_percent=60)
    desk.samples(gpu(utilization_percent=0, processes=[process(42), busy, process(1), process(0)]))
    assert desk.desk.actions(alert_id)[1].command == "kill 42"


def test_an_action_that_fits_nothing_any_more_says_why(desk: World) -> None:
    desk.reads(905, HELD)
    alert_id = desk.desk.active()[0].id
    desk.samples(gpu(utilization_percent=None, processes=[process()]))
    assert [(action.command, action.problem) for action in desk.desk.actions(alert_id)] == [
        (None, "no idle process is left on it"),
        (None, "no idle process is left on it"),
    ]
    desk.samples(gpu(utilization_percent=0, processes=[process(user=None)]))
    tell, end = desk.desk.actions(alert_id)
    assert (tell.problem, end.command) == ("whose processes they are is not known", "kill 4242")
    desk.publish("gpumon/w1/status", "offline")
    assert {action.problem for action in desk.desk.actions(alert_id)} == {"the worker is offline"}


def test_what_is_filled_in_is_quoted_for_the_shell(tmp_path: Path) -> None:
    commands = {"Drain": "drain {worker} {gpu} {index} --users {users} ; echo ${HOME} {awk} {pids}"}
    rules = {"warm": {"kind": "temperature", "above": 50, "commands": commands}}
    with world(tmp_path / "data", rules) as desk:
        desk.comes_online()
        evil = process(user="x; rm -rf ~ $(id)")
        desk.samples(hot(60, processes=[evil]) | {"uuid": "GPU-'a"})
        (action,) = desk.desk.actions(desk.desk.active()[0].id)
        quoted = """drain w1 'GPU-'"'"'a' 0 --users 'x; rm -rf ~ $(id)' ; echo ${HOME} {awk} 4242"""
        assert action.command == quoted


def test_a_worker_that_runs_no_commands_is_offered_none(desk: World) -> None:
    desk.comes_online(commands="none")
    desk.reads(905, HELD)
    assert {action.problem for action in desk.desk.actions(desk.desk.active()[0].id)} == {
        "the worker runs no commands (agent.commands)"
    }
