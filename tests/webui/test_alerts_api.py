"""The API's alerts: what fires and what is over, who may acknowledge, silence and act, and rules that are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.alerting import ask, firing, rule
from tests.webui.attack_target import bearer
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, reading

Workers = Callable[..., WorkerDouble]


def cool(double: WorkerDouble, count: int = 1) -> None:
    """Let all of a worker's cards be cool."""
    double.sample([reading(index, temperature_c=40) for index in range(count)])


def test_what_fires_is_listed_with_its_card_value_and_limit(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    double = worker("hot", [idle(0), reading(3, temperature_c=91)], labels=labels)

    [alert] = firing(page, double)

    assert (alert["rule"], alert["severity"], alert["state"]) == (name, "page", "firing")
    assert (alert["gpu_index"], alert["gpu_name"], alert["labels"]) == (3, "NVIDIA H200", labels)
    assert (alert["value"], alert["threshold"], alert["unit"], alert["side"]) == (91, 85, "°C", "above")
    assert ask(page, "vera", "GET", f"alerts/{alert['id']}").json() == alert
    assert ask(page, "vera", "GET", "alerts/a-nothing").status_code == 404


def test_firing_alerts_are_paged_by_the_last_one_even_when_that_has_ended(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    double = worker("paged", [reading(index, temperature_c=90) for index in range(4)], labels=labels)
    firing(page, double, 4)
    first = ask(page, "vera", "GET", f"alerts?rule={name}&limit=2").json()
    assert (first["total"], len(first["alerts"])) == (4, 2)

    hot = {alert["gpu_index"] for alert in first["alerts"][:1]}
    double.sample([reading(index, temperature_c=90 if index in hot else 91) for index in range(4)])
    rest = ask(page, "vera", "GET", f"alerts?rule={name}&limit=2&after={first['next']}").json()

    assert rest["next"] is None
    assert len({alert["id"] for alert in first["alerts"] + rest["alerts"]}) == 4


def test_filters_that_cannot_be_are_refused_and_others_find_nothing(page: RunningPage) -> None:
    assert ask(page, "vera", "GET", "alerts?severity=dire").status_code == 400
    assert "page, warning, note" in ask(page, "vera", "GET", "alerts/past?severity=dire").json()["error"]
    assert ask(page, "vera", "GET", "alerts?rule=nothing&worker=nobody&gpu=none").json()["alerts"] == []
    assert ask(page, "vera", "GET", "alerts?after=a-nothing").ok
    assert ask(page, "vera", "GET", "alerts?limit=-3").status_code == 400
    assert ask(page, "vera", "GET", "alerts/past?before=a-nothing").status_code in (200, 422)


def test_what_has_ended_is_found_among_past_alerts_page_by_page(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    double = worker("past", [reading(index, temperature_c=90) for index in range(3)], labels=labels)
    firing(page, double, 3)
    cool(double, 3)
    firing(page, double, 0)

    def past(query: str = "") -> dict[str, Any]:
        found: dict[str, Any] = ask(page, "vera", "GET", f"alerts/past?rule={name}{query}").json()
        return found

    eventually(lambda: len(past()["alerts"]) == 3)
    everything = past()["alerts"]
    assert [alert["state"] for alert in everything] == ["resolved"] * 3
    first = past("&limit=2")
    second = past(f"&limit=2&before={first['next']}")
    assert [alert["id"] for alert in first["alerts"] + second["alerts"]] == [alert["id"] for alert in everything]
    assert second["next"] is None
    assert past(f"&worker={double.id}&severity=page")["alerts"] == everything
    assert past("&severity=note")["alerts"] == []


def test_operators_acknowledge_and_take_it_back_and_viewers_do_not(page: RunningPage, worker: Workers) -> None:
    _, labels = rule(page)
    [alert] = firing(page, worker("seen", [reading(0, temperature_c=90)], labels=labels))
    at = f"alerts/{alert['id']}"

    assert ask(page, "vera", "POST", f"{at}/acknowledge").status_code == 403
    answer = ask(page, "olaf", "POST", f"{at}/acknowledge", {"note": "the fan is dead"})
    assert (answer.json()["acknowledged_by"], answer.json()["note"]) == ("olaf", "the fan is dead")
    assert ask(page, "vera", "GET", at).json()["acknowledged_at"] == pytest.approx(time.time(), abs=60)
    assert ask(page, "vera", "POST", f"{at}/unacknowledge").status_code == 403
    assert ask(page, "olaf", "POST", f"{at}/unacknowledge").json()["acknowledged_by"] is None
    for path in ("acknowledge", "unacknowledge", "actions"):
        assert ask(page, "olaf", "POST", f"alerts/a-nothing/{path}", {"name": "x", "command": "y"}).status_code in (
            400,
            404,
        )
    assert ask(page, "olaf", "POST", f"{at}/acknowledge", {"note": 7}).status_code == 400


def test_all_of_a_rule_are_acknowledged_at_once(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    double = worker("all", [reading(index, temperature_c=90) for index in range(3)], labels=labels)
    firing(page, double, 3)

    assert ask(page, "olaf", "POST", "alerts/acknowledge", {"rule": name}).json() == {"acknowledged": 3}
    assert {alert["acknowledged_by"] for alert in firing(page, double, 3)} == {"olaf"}
    assert ask(page, "olaf", "POST", "alerts/acknowledge", {"rule": name}).json() == {"acknowledged": 0}


def test_a_limited_operator_reaches_their_own_workers_alone(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    ours, theirs = (
        worker(where, [reading(0, temperature_c=90)], labels={**labels, "hall": where}) for where in ("north", "south")
    )
    [mine], [other] = firing(page, ours), firing(page, theirs)
    with open_accounts(DataFolder(page.data)) as accounts:
        accounts.add_user("nora", Role.OPERATOR, "correct horse nora", "hall=north")
        session = bearer(accounts.tokens.make("nora", "alerts")[1])

    def post(path: str, body: dict[str, Any]) -> tuple[int, str]:
        answer = session.post(f"{page.address}/api/v1/{path}", json=body, timeout=10)
        return answer.status_code, answer.text

    until = time.time() + 3600
    assert post(f"alerts/{mine['id']}/acknowledge", {})[0] == 200
    status, text = post(f"alerts/{other['id']}/acknowledge", {})
    assert status == 403
    assert theirs.id in text
    assert post("alerts/acknowledge", {"rule": name}) == (200, '{"acknowledged":0}')
    assert post("alerts/silences", {"until": until, "rule": name})[0] == 403
    assert post("alerts/silences", {"until": until, "worker_id": theirs.id})[0] == 403
    assert post("alerts/silences", {"until": until, "rule": name, "worker_id": ours.id, "reason": "mine"})[0] == 201
    assert post("alerts/silences", {"until": until, "rule": name, "labels": {"hall": "north"}, "reason": "m"})[0] == 201
    foreign = ask(page, "olaf", "POST", "alerts/silences", {"until": until, "rule": name, "reason": "all"}).json()
    answer = session.delete(f"{page.address}/api/v1/alerts/silences/{foreign['id']}", timeout=10)
    assert answer.status_code == 403
    with open_accounts(DataFolder(page.data)) as accounts:
        accounts.remove_user("nora")


def test_a_silence_is_made_shown_and_ended_before_its_time(page: RunningPage, worker: Workers) -> None:
    name, labels = rule(page)
    double = worker("quiet", [reading(0, temperature_c=90)], labels=labels)
    firing(page, double)
    body = {"until": time.time() + 3600, "rule": name, "worker_id": double.id, "reason": "the fan is on its way"}

    assert ask(page, "vera", "POST", "alerts/silences", body).status_code == 403
    made = ask(page, "olaf", "POST", "alerts/silences", body).json()

    assert (made["by"], made["reason"], made["rule"]) == ("olaf", "the fan is on its way", name)
    assert made in ask(page, "vera", "GET", "alerts/silences").json()["silences"]
    eventually(lambda: firing(page, double)[0]["silenced"])
    assert ask(page, "vera", "DELETE", f"alerts/silences/{made['id']}").status_code == 403
    assert ask(page, "olaf", "DELETE", f"alerts/silences/{made['id']}").ok
    assert ask(page, "olaf", "DELETE", f"alerts/silences/{made['id']}").status_code == 404
    eventually(lambda: not firing(page, double)[0]["silenced"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"until": "soon"},
        {"until": time.time() + 60, "rule": "x", "labels": {"rack": 3}},
        {"until": time.time() + 60, "rule": "x", "reason": "r" * 501},
        {"until": time.time() + 60, "rule": "x", "more": 1},
    ],
)
def test_a_silence_that_cannot_be_is_refused_in_words(page: RunningPage, body: object) -> None:
    answer = ask(page, "olaf", "POST", "alerts/silences", body)

    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("body", [{"until": 1.0, "reason": "past"}, {"until": 9e99}, {"until": 9e9, "rule": "x"}])
def test_a_silence_that_fits_the_description_and_cannot_be_meant_is_422(page: RunningPage, body: object) -> None:
    answer = ask(page, "olaf", "POST", "alerts/silences", body)

    assert answer.status_code == 422
    assert answer.json()["error"]


def test_an_action_runs_through_the_command_desk_as_it_was_shown(page: RunningPage, worker: Workers) -> None:
    _, labels = rule(page, commands={"End the processes": "kill {pids}"})
    double = worker("act", [reading(0, temperature_c=90)], labels=labels)
    [alert] = firing(page, double)
    at = f"alerts/{alert['id']}/actions"
    assert alert["actions"] == ["End the processes"]
    [action] = ask(page, "vera", "GET", at).json()["actions"]
    assert (action["command"], action["worker_id"]) == ("kill 4242", double.id)

    wanted = {"name": action["name"], "command": action["command"]}
    assert ask(page, "vera", "POST", at, wanted).status_code == 403
    assert "offers no" in ask(page, "olaf", "POST", at, {**wanted, "name": "Reboot"}).json()["error"]
    assert "has changed" in ask(page, "olaf", "POST", at, {**wanted, "command": "kill 1"}).json()["error"]
    assert double.received.empty()

    answer = ask(page, "olaf", "POST", at, wanted)
    assert answer.status_code == 201
    command = double.next_command()
    assert (command.command, command.by) == ("kill 4242", "olaf")
    double.end(command)
    entries = ask(page, "alice", "GET", f"audit?who=olaf&action=command.run&worker={double.id}").json()["entries"]
    assert [entry["detail"]["command"] for entry in entries] == ["kill 4242"]


def test_rules_are_shown_in_words_changed_turned_off_and_brought_back(page: RunningPage) -> None:
    def shown(name: str) -> dict[str, object] | None:
        rules = ask(page, "vera", "GET", "alerts/rules").json()["rules"]
        return next((each for each in rules if each["name"] == name), None)

    before = shown("memory-full")
    assert before is not None
    assert before["words"] == "memory in use at or above 99 % for 10 min (until below 97 %)"

    assert ask(page, "olaf", "PUT", "alerts/rules/memory-full", {"enabled": False}).status_code == 403
    assert ask(page, "alice", "PUT", "alerts/rules/memory-full", {"enabled": False, "above": "95 %"}).ok
    changed = shown("memory-full")
    assert changed is not None
    assert changed["fields"] == {**dict(before["fields"] or {}), "enabled": False, "above": "95 %", "clear": "93 %"}  # type: ignore[call-overload]
    assert (changed["changed_by"], changed["can_be_reset"]) == ("alice", True)

    assert ask(page, "alice", "DELETE", "alerts/rules/memory-full").ok
    assert shown("memory-full") == before


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("hot", {"above": "85 F"}, "rule hot: above '85 F' cannot be used"),
        ("hot", {"above": "185 W"}, "not its unit"),
        ("hot", {"abvoe": 85}, "did you mean above?"),
        ("new-one", {}, "rule new-one needs kind"),
        ("New One", {"kind": "temperature", "above": 85}, "a rule cannot be named 'New One'"),
        ("hot", {"quiet_hours": "all night"}, "22:00-07:00"),
        ("hot", {"commands": {"End": "kill {pid}"}}, "did you mean {pids}?"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_the_same_words_when_it_is_tried(
    page: RunningPage, name: str, fields: dict[str, object], words: str
) -> None:
    put = ask(page, "alice", "PUT", f"alerts/rules/{name}", fields)
    tried = ask(page, "alice", "POST", "alerts/rules/check", {"name": name, "fields": fields})

    assert (put.status_code, tried.status_code) == (422, 200)
    assert words in put.json()["error"]
    assert tried.json() == {"words": None, "problem": put.json()["error"]}


def test_a_rule_that_can_be_is_said_in_words_without_being_made(page: RunningPage) -> None:
    fields = {"kind": "power", "above": "600 W", "for_s": "90 s"}
    answer = ask(page, "alice", "POST", "alerts/rules/check", {"name": "tried-only", "fields": fields})

    assert answer.json() == {"words": "power at or above 600 W for 1.5 min", "problem": None}
    assert "tried-only" not in ask(page, "vera", "GET", "alerts/rules").text


def test_channels_are_for_admins_and_one_that_is_not_there_cannot_be_tried(page: RunningPage) -> None:
    assert ask(page, "olaf", "GET", "alerts/channels").status_code == 403
    assert isinstance(ask(page, "alice", "GET", "alerts/channels").json()["channels"], list)
    assert ask(page, "alice", "POST", "alerts/channels/nothing/test").status_code == 404
