"""What a restart finds again, also after SIGKILL at any moment: the same alerts, none told twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from master.alerts.records import Alert
from tests.master.alerts.support import ANNA, World, hot, world
from tests.master.support import gpu
from tests.support import stopping


def test_what_fires_goes_on_after_a_restart_and_is_not_told_again(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.reads(125, hot(90))
        first.happens("xid", 79)
        before = first.desk.active()
        assert {alert.id for alert in first.settle()} == {alert.id for alert in before}
        first.desk.acknowledge(before[0].id, ANNA, "on my way")
        until = first.wall()
    second = World(tmp_path / "data", at=until + 60)
    assert [alert.id for alert in second.desk.active()] == [alert.id for alert in before]
    assert second.desk.active()[0].acknowledged_note == "on my way"
    second.reads(125, hot(90))
    assert [alert.id for alert in second.desk.active()] == [alert.id for alert in before]
    assert second.settle() == []
    second.samples(hot(40))
    assert [(alert.rule, alert.state) for alert in second.settle()] == [("hot", "resolved")]
    second.stop()


def test_what_was_pending_goes_on_without_the_time_in_between(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.reads(100, hot(90))
        until = first.wall()
    second = World(tmp_path / "data", at=until + 3600)
    second.reads(15, hot(90))
    assert second.firing == []
    second.reads(110, hot(90))
    assert second.firing == [("hot", "w1", "GPU-0")]
    second.stop()


def test_after_a_short_restart_what_was_pending_fires_in_time(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.reads(70, hot(90))
        first.publish("gpumon/w1/status", "online")
        first.reads(30, hot(90))
        until = first.wall()
    second = World(tmp_path / "data", at=until + 30)
    second.reads(15, hot(90))
    assert second.firing == []
    second.reads(10, hot(90))
    assert second.firing == [("hot", "w1", "GPU-0")]
    second.stop()


def test_a_worker_that_was_about_to_be_offline_is_so_in_time_after_a_restart(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online("w2")
        first.reads(65, hot(40))
        first.publish("gpumon/w1/status", "offline")
        first.reads(100, hot(40), worker_id="w2")
        until = first.wall()
    second = World(tmp_path / "data", at=until + 30)
    second.reads(60 + 15, hot(40), worker_id="w2")
    assert second.firing == []
    second.reads(15, hot(40), worker_id="w2")
    assert second.firing == [("worker-offline", "w1", None)]
    second.stop()


def test_what_was_pending_and_has_ended_is_kept_no_longer(desk: World) -> None:
    desk.reads(60, hot(90))
    assert desk.writer.flush()
    assert _rows(desk) == [("pending",)]
    desk.reads(10, hot(40))
    assert desk.writer.flush()
    assert _rows(desk) == []


def _rows(made: World) -> list[tuple[str, ...]]:
    with made.store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT state FROM alerts")]


def test_an_error_that_was_counted_while_the_master_was_away_is_found(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.samples(gpu(ecc_uncorrected=1))
        until = first.wall()
    second = World(tmp_path / "data", at=until + 60)
    second.samples(gpu(ecc_uncorrected=2))
    assert second.firing == [("ecc-uncorrected", "w1", "GPU-0")]
    second.stop()


def test_the_quiet_time_after_an_xid_goes_on_over_a_restart(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.samples(gpu())
        first.happens("xid", 79)
        until = first.wall()
    second = World(tmp_path / "data", at=until + 3500)
    second.wait(50)
    assert second.firing == [("xid-critical", "w1", "GPU-0")]
    second.wait(60)
    assert ("xid-critical", "w1", "GPU-0") not in second.firing
    second.stop()


def test_a_worker_that_was_removed_while_the_master_was_away_leaves_nothing(tmp_path: Path) -> None:
    with world(tmp_path / "data") as first:
        first.comes_online()
        first.reads(125, hot(90))
        first.fleet.save()
        until = first.wall()
        first.desk.stop()
        first.fleet.forget("w1")
    second = World(tmp_path / "data", at=until + 10)
    second.wait(70)
    assert second.firing == []
    assert [alert.state for alert in second.settle()] == ["resolved"]
    second.stop()


def test_an_alert_of_a_worker_that_joined_just_before_a_kill_goes_on(tmp_path: Path) -> None:
    first = World(tmp_path / "data")
    first.comes_online()
    first.samples(gpu())
    first.happens("xid", 79)
    assert len(first.settle()) == 1
    first.writer.stop()  # as if killed: the fleet is saved every ten seconds only
    second = World(tmp_path / "data", at=first.wall() + 5)
    assert second.fleet.workers() == []
    second.wait(5)
    second.comes_online()
    second.reads(90, gpu())
    assert second.firing == [("xid-critical", "w1", "GPU-0")]
    assert second.settle() == []
    first.store.stop()
    second.stop()


def test_a_rule_that_was_taken_out_while_the_master_was_away_leaves_nothing(tmp_path: Path) -> None:
    with world(tmp_path / "data", {"warm": {"kind": "temperature", "above": 50, "for_s": 0}}) as first:
        first.comes_online()
        first.samples(hot(60))
        assert first.firing == [("warm", "w1", "GPU-0")]
        until = first.wall()
    second = World(tmp_path / "data", at=until + 10)
    assert second.firing == []
    assert [alert.state for alert in second.settle()] == ["resolved"]
    second.stop()


RULES = {"hot": {"for_s": 8}, "warm": {"kind": "temperature", "above": 60, "for_s": 0}}

# A desk that finds and loses things as fast as it can, and says what it has told before it goes on. Its clock runs far
# faster than the disk: nothing may be told for want of time alone.
RESTLESS = """
import json, random, sys
from pathlib import Path
from master.alerts import findings
from master.events import AlertChanged
from tests.master.alerts.support import World, hot
from tests.master.alerts.test_restarts import RULES

def told(event):
    alert = event.alert
    print(json.dumps([alert.id, alert.state, alert.rule, alert.worker_id, alert.gpu]), flush=True)

findings.TELL_AT_LATEST_S = 1e9
made, dice = World(Path(sys.argv[1]), RULES, at=float(sys.argv[2])), random.Random(int(sys.argv[3]))
made.bus.subscribe(AlertChanged, told)
print(json.dumps(made.wall()), flush=True)
while True:
    for worker in ("w1", "w2", "w3"):
        made.samples(*(hot(dice.choice((40, 65, 90, 90, 90)), index) for index in range(4)), worker_id=worker)
        if dice.random() < 0.1:
            made.happens("xid", 79, worker_id=worker)
    made.wait(2)
    made.fleet.save()
    print(json.dumps(made.wall()), flush=True)
"""


ENOUGH = 20


def test_killed_at_any_moment_it_finds_the_same_alerts_and_fires_none_twice(tmp_path: Path) -> None:
    killed_and_started_again(tmp_path / "data", runs=4, dice=random.Random(3))


def killed_and_started_again(folder: Path, runs: int, dice: random.Random) -> int:
    """Kill a desk again and again, compare what it told with what it has kept, and return how many it told of.

    On a busy machine it is killed more often, until it has told enough to compare.
    """
    at = 1_780_000_000.0
    told: list[list[str | None]] = []
    root = str(Path(__file__).parents[3])
    for run in range(10 * runs):
        if run >= runs and len({line[0] for line in told}) > ENOUGH:
            break
        process = subprocess.Popen(
            [sys.executable, "-c", RESTLESS, str(folder), str(at), str(run)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
        )
        with stopping(process):
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(dice.randrange(2, 150))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        found = [json.loads(line) for line in lines if line.endswith(b"\n")]
        told += [line for line in found if isinstance(line, list)]
        at = max(line for line in found if isinstance(line, float)) + dice.choice((1, 20))
    last = World(folder, RULES, at=at)
    assert last.writer.flush()
    kept = {alert.id: alert for alert in last.desk.active()}
    before: str | None = None
    while page := last.desk.past(1000, before):
        kept.update({alert.id: alert for alert in page})
        before = page[-1].id
    last.stop()
    _check(told, kept)
    return len(kept)


def _check(told: list[list[str | None]], kept: dict[str, Alert]) -> None:
    assert len({line[0] for line in told}) > ENOUGH
    firing: dict[tuple[str | None, ...], str | None] = {}
    ended: set[str | None] = set()
    for alert_id, state, *subject in told:
        assert alert_id in kept  # told only once it was kept
        assert alert_id not in ended  # never fires again, never ends twice
        before = firing.get(tuple(subject))
        if before not in (None, alert_id):
            assert kept[str(before)].state == "resolved"  # its end was kept, and the kill came before it was told
        if state == "resolved":
            firing.pop(tuple(subject), None)
            ended.add(alert_id)
        else:
            firing[tuple(subject)] = alert_id
    assert all(kept[str(alert_id)].state == "resolved" for alert_id in ended)
    open_now = [(alert.rule, alert.worker_id, alert.gpu) for alert in kept.values() if alert.is_firing]
    assert len(open_now) == len(set(open_now))  # never two of one subject
