"""Two masters of one fleet: both pages show all of it and work alike, also when something dies and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from tests.end_to_end.page_client import PageClient
from tests.peers.conftest import Ground
from tests.peers.support import MasterProcess, stale, stay_current, workers
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


def test_a_command_from_one_page_is_seen_on_both_and_ends_once(
    ground: Ground, pages: list[PageClient], fleet: list[str]
) -> None:
    quick = pages[0].run(fleet[0], "echo said once")
    eventually(lambda: all(_states(page, quick) == ["finished"] for page in pages), 20)
    for page in pages:
        assert "said once" in str(page.get(f"commands/{quick}/output?worker={fleet[0]}"))
    _has_ended_once(ground, quick)


def test_a_browser_that_is_sent_to_the_other_master_stays_logged_in_there_until_it_logs_out(
    ground: Ground, masters: Masters, pages: list[PageClient]
) -> None:
    here = masters[0].client()
    there = here.at(masters[1].page)
    assert there.get("session")["user"] == "ann"
    assert there.send("POST", "alerts/rules/check", {"name": "some-rule", "fields": {}})
    here.send("DELETE", f"account/sessions/{here.get('account')['session']}")
    eventually(lambda: _is_logged_out(here) and _is_logged_out(there))


def test_history_of_a_worker_is_the_same_on_both_pages_whichever_master_keeps_it(
    pages: list[PageClient], fleet: list[str]
) -> None:
    for name in fleet[:4]:
        uuid = pages[0].get(f"workers/{name}")["info"]["gpus"][0]["uuid"]
        asked = f"workers/{name}/gpus/{uuid}/history?from=-30&metric=temperature_c"
        for page in pages:
            _has_raw_points(page, asked)


def test_without_redis_both_pages_stay_current_and_say_what_is_wrong_and_all_is_well_once_it_is_back(
    ground: Ground, masters: Masters, pages: list[PageClient], fleet: list[str]
) -> None:
    ground.redis.stop()
    assert stay_current(pages, fleet, 6.0)
    for master, page in zip(masters, pages, strict=True):
        assert "Redis" in page.get("session")["masters_problem"]
        assert master.health()["masters"]["problem"]
        assert "no way to the other masters over Redis" in master.said()
    command = pages[1].run(fleet[1], "echo without Redis")
    eventually(lambda: all(_states(page, command) == ["finished"] for page in pages), 20)
    ground.redis.start()
    eventually(lambda: all(master.shares_with(1) for master in masters), 20)
    assert pages[0].get("session")["masters_problem"] is None
    assert stay_current(pages, fleet, 2.0)
    _has_ended_once(ground, command)


def test_every_worker_stays_current_while_a_master_is_killed_and_its_command_ends_and_when_it_is_back(
    ground: Ground, masters: Masters, pages: list[PageClient], fleet: list[str]
) -> None:
    one, two = masters
    assert stay_current(pages, fleet, 2.0)
    slow = pages[1].run(fleet[2], "sleep 3; echo late")
    eventually(lambda: _states(pages[0], slow) in (["sent"], ["running"]), 10)
    two.kill()
    assert stay_current(pages[:1], fleet, 6.0)
    assert one.shares_with(0)
    eventually(lambda: _states(pages[0], slow) == ["finished"], 20)
    _has_ended_once(ground, slow)
    two.start()
    eventually(lambda: one.shares_with(1) and two.shares_with(1), 60)
    # The cookie of before is good at the master that came back.
    eventually(lambda: not any(stale(page, fleet) for page in pages), 20)
    assert stay_current(pages, fleet, 2.0)
    assert _states(pages[1], slow) == ["finished"]


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
