"""Two masters of one fleet: both pages show all of it and work alike, also when something dies and comes back.

The tests share the two, in this order: what starts takes longer than what is tried.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.end_to_end.page_client import PageClient
from tests.master.support import Publisher
from tests.peers.alerting import WATCHED, appear, firing, get_hot, raise_xid, told
from tests.peers.conftest import Ground
from tests.peers.support import MasterProcess, a_master, stale, stay_current, workers
from tests.support import eventually

WORKERS = 8

Masters = tuple[MasterProcess, MasterProcess]


@pytest.fixture(scope="module")
def fleet(ground: Ground, masters: Masters) -> Iterator[list[str]]:
    """Workers that both pages show."""
    environment = {
        **masters[0].environment,
        "GPUMON_MQTT_PORT": str(ground.mqtt_port),
        "GPUMON_DATA": str(ground.folder / "workers"),
    }
    with workers(ground.folder, environment, WORKERS) as ids:
        yield ids


@pytest.fixture(scope="module")
def pages(masters: Masters, fleet: list[str]) -> list[PageClient]:
    """Somebody on each page, each with one worker after the other."""
    opened = [master.client() for master in masters]
    eventually(lambda: not any(stale(page, fleet) for page in opened), 60)
    return opened


@pytest.fixture(scope="module")
def publisher(ground: Ground, pages: list[PageClient]) -> Iterator[Publisher]:
    """Speaks for further workers, which both pages show."""
    speaker = Publisher(ground.mqtt_port)
    appear(speaker)
    eventually(lambda: all({row["id"] for row in page.workers()} >= set(WATCHED) for page in pages), 20)
    yield speaker
    speaker.stop()


def test_a_command_from_one_page_is_seen_on_both_and_ends_once(
    ground: Ground, pages: list[PageClient], fleet: list[str]
) -> None:
    quick = pages[0].run(fleet[0], "echo said once")
    eventually(lambda: all(_states(page, quick) == ["finished"] for page in pages), 20)
    for page in pages:
        assert "said once" in str(page.get(f"commands/{quick}/output?worker={fleet[0]}"))
    _has_ended_once(ground, quick)


def test_what_every_worker_does_is_pushed_live_to_browsers_of_both_masters(
    masters: Masters, pages: list[PageClient], fleet: list[str]
) -> None:
    with contextlib.ExitStack() as stack:
        pushed = [stack.enter_context(page.watching("fleet", "fleet_changed")) for page in pages]

        def times(changes: list[dict[str, Any]]) -> dict[str, set[float]]:
            found: dict[str, set[float]] = {name: set() for name in fleet}
            for row in [row for change in changes for row in change["rows"] if row["id"] in found]:
                found[row["id"]].add(row["sample_time"])
            return found

        eventually(lambda: all(len(seen) >= 3 for changes in pushed for seen in times(changes).values()), 20)


def test_a_browser_that_is_sent_to_the_other_master_stays_logged_in_there_until_it_logs_out(
    ground: Ground, masters: Masters, pages: list[PageClient]
) -> None:
    here = masters[0].client()
    there = here.at(masters[1].page)
    assert there.get("session")["user"] == "ann"
    assert there.send("POST", "alerts/rules/check", {"name": "some-rule", "fields": {}})
    here.send("DELETE", f"account/sessions/{here.get('account')['session']}")
    eventually(lambda: _is_logged_out(here) and _is_logged_out(there))


def test_a_master_without_the_queue_is_refused_beside_them_in_one_line(ground: Ground, masters: Masters) -> None:
    given = {name: value for name, value in ground.environment.items() if name != "GPUMON_SOCKETIO_QUEUE"}
    with a_master(ground.folder, "third", given) as third:
        process = third.process
        assert process is not None
        eventually(lambda: process.poll() is not None, 30)
        assert process.returncode == 3
        assert (
            third.said().count("have them share the fleet by setting broker.url, database.url and socketio.queue") == 1
        )


def test_history_of_a_worker_is_the_same_on_both_pages_whichever_master_keeps_it(
    pages: list[PageClient], fleet: list[str]
) -> None:
    for name in fleet[:4]:
        uuid = pages[0].get(f"workers/{name}")["info"]["gpus"][0]["uuid"]
        asked = f"workers/{name}/gpus/{uuid}/history?from=-30&metric=temperature_c"
        for page in pages:
            _has_raw_points(page, asked)


def test_what_each_master_finds_is_on_both_pages_is_told_once_and_is_acknowledged_from_either(
    ground: Ground, pages: list[PageClient], publisher: Publisher
) -> None:
    raise_xid(publisher, 79)
    eventually(lambda: all(len(firing(page)) == len(WATCHED) for page in pages), 20)
    kept = ground.sql("SELECT worker_id, count(*) FROM alerts WHERE rule = 'xid-critical' GROUP BY worker_id")
    assert {name: count for name, count in kept if name in WATCHED} == dict.fromkeys(WATCHED, 1)
    eventually(lambda: sum(told(ground).values()) >= len(WATCHED), 20)
    assert set(told(ground).values()) == {1}
    for number, alert in enumerate(firing(pages[0]).values()):
        pages[number % 2].send("POST", f"alerts/{alert['id']}/acknowledge", {"note": "seen"})
    eventually(lambda: all({a["acknowledged_by"] for a in firing(page).values()} == {"ann"} for page in pages))


def test_rules_silences_and_the_channel_are_the_same_on_both_pages(pages: list[PageClient]) -> None:
    here, there = pages
    rule = {"kind": "temperature", "severity": "page", "above": "70 °C", "for_s": 0, "labels": {}}
    here.send("PUT", "alerts/rules/very-hot", rule)
    eventually(lambda: "very-hot" in [rule["name"] for rule in there.get("alerts/rules")["rules"]])
    there.send("POST", "alerts/silences", {"until": time.time() + 600, "reason": "moving", "rule": "very-hot"})
    eventually(lambda: [each["reason"] for each in here.get("alerts/silences")["silences"]] == ["moving"])
    here.send("DELETE", f"alerts/silences/{here.get('alerts/silences')['silences'][0]['id']}")
    eventually(lambda: there.get("alerts/silences")["silences"] == [])
    for page in pages:
        (channel,) = page.get("alerts/channels")["channels"]
        assert channel["name"] == "hook"
        assert channel["last_sent"] is not None
        assert page.send("POST", "alerts/channels/hook/test") == {"problem": None}


def test_without_redis_both_pages_stay_current_and_say_what_is_wrong_and_all_is_well_once_it_is_back(
    ground: Ground, masters: Masters, pages: list[PageClient], fleet: list[str], publisher: Publisher
) -> None:
    rule = {"kind": "temperature", "severity": "note", "above": "65 °C", "for_s": 0, "labels": {}}
    pages[0].send("PUT", "alerts/rules/warm", rule)
    eventually(lambda: "warm" in [rule["name"] for rule in pages[1].get("alerts/rules")["rules"]])
    ground.redis.stop()
    assert stay_current(pages, fleet, 5.0)
    for master, page in zip(masters, pages, strict=True):
        assert "Redis" in page.get("session")["masters_problem"]
        assert master.health()["masters"]["problem"]
        assert "no way to the other masters over Redis" in master.said()
    get_hot(publisher, 67)
    eventually(lambda: all(firing(page, "warm").keys() == set(WATCHED) for page in pages), 20)
    command = pages[1].run(fleet[1], "echo without Redis")
    eventually(lambda: all(_states(page, command) == ["finished"] for page in pages), 20)
    ground.redis.start()
    eventually(lambda: all(master.shares_with(1) for master in masters), 20)
    assert pages[0].get("session")["masters_problem"] is None
    assert stay_current(pages, fleet, 2.0)
    _has_ended_once(ground, command)


def test_every_worker_stays_current_while_a_master_is_killed_and_the_other_goes_on_with_all_that_it_did(
    ground: Ground, masters: Masters, pages: list[PageClient], fleet: list[str], publisher: Publisher
) -> None:
    assert stay_current(pages, fleet, 1.0)
    before = firing(pages[0])
    dead = 0 if "this master leads" in masters[0].said() else 1
    survivor = pages[1 - dead]
    slow = pages[dead].run(fleet[2], "sleep 3; echo late")
    eventually(lambda: _states(survivor, slow) in (["sent"], ["running"]), 10)
    masters[dead].kill()
    raise_xid(publisher, 79)  # while nobody keeps the dead one's workers
    assert stay_current([survivor], fleet, 5.0)
    assert masters[1 - dead].shares_with(0)
    eventually(lambda: _states(survivor, slow) == ["finished"], 20)
    _has_ended_once(ground, slow)
    eventually(lambda: {alert["count"] for alert in firing(survivor).values()} == {2}, 20)
    after = firing(survivor)
    assert {name: alert["id"] for name, alert in after.items()} == {name: alert["id"] for name, alert in before.items()}
    assert {alert["acknowledged_by"] for alert in after.values()} == {"ann"}
    get_hot(publisher, 75)
    eventually(lambda: len(told(ground)) == 2 * len(WATCHED), 20)

    masters[dead].start()
    eventually(lambda: all(master.shares_with(1) for master in masters), 60)
    # The cookie of before is good at the master that came back.
    eventually(lambda: not any(stale(page, fleet) for page in pages), 20)
    assert stay_current(pages, fleet, 2.0)
    assert _states(pages[dead], slow) == ["finished"]
    assert firing(pages[dead], "very-hot").keys() == firing(survivor, "very-hot").keys() == set(WATCHED)
    assert set(told(ground).values()) == {1}


def _states(page: PageClient, command_id: str) -> list[str]:
    try:
        return [target["state"] for target in page.command(command_id)["targets"]]
    except requests.HTTPError:
        return []


def _has_ended_once(ground: Ground, command_id: str) -> None:
    def actions() -> list[str]:
        return sorted(row[0] for row in ground.sql(f"SELECT action FROM audit WHERE subject = '{command_id}'"))

    eventually(lambda: "command.ended" in actions())
    time.sleep(0.3)  # a second master would be at most so late
    assert actions() == ["command.ended", "command.run"]
    query = f"SELECT state, exit_code FROM command_targets WHERE command_id = '{command_id}'"
    assert ground.sql(query) == [("finished", 0)]


def _is_logged_out(page: PageClient) -> bool:
    try:
        page.get("session")
    except requests.HTTPError as error:
        return error.response is not None and error.response.status_code == 401
    return False


def _has_raw_points(page: PageClient, asked: str) -> None:
    """See that the page answers with samples as they came, which only the worker's keeper has."""

    def answered() -> bool:
        answer = page.get(asked)
        return answer["source"] == "raw" and len(answer["time"]) >= 3

    eventually(answered)
