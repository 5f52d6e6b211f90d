"""Usage over the real server."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from gpumon.messages import Process
from tests.support import eventually
from tests.webui.conftest import NUMBERS
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, reading

HELD_S = 4.0


def get(page: RunningPage, path: str, who: str = "vera", **query: Any) -> requests.Response:
    """Ask for usage up to the end of this hour."""
    query.setdefault("to", time.time() + 3600)
    return page.session(who).get(f"{page.address}/api/v1/{path}", params=query, timeout=10)


@pytest.fixture(scope="module")
def used(page: RunningPage) -> Iterator[WorkerDouble]:
    """A worker of whose three cards one is worked on, one is held idle, and one is free, for four seconds."""
    name = f"used-{next(NUMBERS)}"
    held = Process(pid=7, user="=cmd()", name="python", memory_bytes=2 * GIB)
    cards = [reading(0, energy_j=None, power_w=360.0), idle(1, processes=[held], energy_j=None), idle(2, energy_j=None)]
    double = WorkerDouble(page.mqtt_port, name, labels={"team": name}).start(cards)
    # The worker's clock is a little ahead, so that the time has passed at once.
    double.sample(cards, time=time.time() + HELD_S)
    eventually(lambda: get(page, "usage", worker=name).json()["groups"])
    yield double
    double.stop()


@pytest.mark.parametrize("path", ["usage", "usage.csv", "usage.json", "usage/series"])
def test_usage_is_not_told_to_who_is_not_logged_in(page: RunningPage, path: str) -> None:
    assert requests.get(f"{page.address}/api/v1/{path}", timeout=10).status_code == 401


def test_the_last_minutes_are_those_of_the_hours_that_they_lie_in(page: RunningPage, used: WorkerDouble) -> None:
    query: dict[str, Any] = {"from": -60, "worker": used.id}
    answer = get(page, "usage", **query).json()
    assert answer["from"] % 3600 == 0
    assert answer["total"]["held_hours"] > 0


def test_each_user_has_what_was_held_and_taken(page: RunningPage, used: WorkerDouble) -> None:
    answer = get(page, "usage", worker=used.id).json()
    groups = {group["name"]: group for group in answer["groups"]}

    assert list(groups)[-1] == "nobody"
    assert set(groups) == {"research", "=cmd()", "nobody"}
    held = groups["research"]["held_hours"]
    assert held == pytest.approx(HELD_S / 3600, rel=0.3)
    assert groups["research"]["busy_hours"] == held
    assert groups["research"]["energy_kwh"] == pytest.approx(held * 0.36, rel=1e-2)
    assert groups["=cmd()"]["idle_hours"] == pytest.approx(held, rel=1e-3)
    assert groups["nobody"]["held_hours"] == 0
    assert groups["nobody"]["free_hours"] == pytest.approx(held, rel=1e-3)
    assert groups["research"]["cost"] is None
    assert answer["total"]["held_hours"] == pytest.approx(2 * held, rel=1e-3)
    assert answer["prices"] == {"per_gpu_hour": None, "per_kwh": None, "currency": None}
    assert answer["problem"] is None
    assert "team" in answer["label_keys"]


def test_it_is_grouped_and_filtered(page: RunningPage, used: WorkerDouble) -> None:
    def names(**query: str) -> list[str | None]:
        return [group["name"] for group in get(page, "usage", **query).json()["groups"]]

    assert names(by="worker", label=f"team={used.id}") == [used.id]
    assert names(by="model", worker=used.id) == ["NVIDIA H200"]
    assert names(by="label:team", worker=used.id) == [used.id]
    assert names(by="label:nowhere", worker=used.id) == [None]
    assert names(worker=used.id, user="research") == ["research"]
    assert names(worker=used.id, user="nobody") == ["nobody"]
    assert names(worker=used.id, user="never-was") == []


def test_it_comes_by_hours_and_days(page: RunningPage, used: WorkerDouble) -> None:
    def series(step: str, seconds: float) -> dict[str, Any]:
        query: dict[str, Any] = {"from": time.time() - seconds, "tz": "Asia/Kolkata", "step": step}
        found: dict[str, Any] = get(page, "usage/series", worker=used.id, **query).json()
        return found

    hours, days = series("hour", 3600), series("day", 86_400)

    for answer in (hours, days):
        assert answer["time"] == sorted(answer["time"])
        research = next(group for group in answer["groups"] if group["name"] == "research")
        assert len(research["held_hours"]) == len(answer["time"])
        assert sum(research["held_hours"]) == pytest.approx(HELD_S / 3600, rel=0.3)
    assert all(moment % 3600 == 0 for moment in hours["time"][1:])
    # India is 5:30 h ahead: its midnight is 18:30 UTC.
    assert {moment % 86_400 for moment in days["time"][1:]} == {18.5 * 3600}


def test_groups_past_the_largest_are_added_up(page: RunningPage, used: WorkerDouble) -> None:
    answer = get(page, "usage/series", worker=used.id, groups=1).json()

    assert [(group["is_rest"], group["name"] == "nobody") for group in answer["groups"]] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    assert answer["groups"][2]["of"] == 1


def test_it_can_be_kept_as_a_table_that_no_spreadsheet_runs(page: RunningPage, used: WorkerDouble) -> None:
    answer = get(page, "usage.csv", worker=used.id)
    head, *rows = csv.reader(answer.text.splitlines())

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "gpumon-usage-by-user-" in answer.headers["Content-Disposition"]
    assert head[:3] == ["user", "held_hours", "busy_hours"]
    assert {row[0] for row in rows} == {"research", "'=cmd()", "nobody"}
    assert all(len(row) == len(head) for row in rows)
    kept = get(page, "usage.json", worker=used.id)
    assert kept.headers["Content-Disposition"].endswith('.json"')
    assert len(kept.json()["groups"]) == 3


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"by": "gpu"}, "user, worker, model"),
        ({"by": "label:"}, "label:KEY"),
        ({"by": "user:x"}, "label:KEY"),
        ({"from": "yesterday"}, "seconds since 1970"),
        ({"from": "nan"}, "seconds since 1970"),
        ({"label": "rack"}, "KEY=VALUE"),
    ],
)
@pytest.mark.parametrize("path", ["usage", "usage/series", "usage.csv"])
def test_an_argument_that_cannot_be_used_is_said(
    page: RunningPage, path: str, query: dict[str, str], word: str
) -> None:
    answer = get(page, path, **query)
    assert answer.status_code == 400
    assert word in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"step": "week"}, "one of"),
        ({"groups": "0"}, "groups"),
        ({"groups": "99999"}, "groups"),
        ({"order": "name"}, "order"),
    ],
)
def test_a_wrong_argument_of_the_series_is_said(page: RunningPage, query: dict[str, str], word: str) -> None:
    answer = get(page, "usage/series", **query)
    assert answer.status_code == 400
    assert word in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"tz": "Mars/Olympus"}, "time zone"),
        ({"tz": "../../etc/passwd"}, "time zone"),
        ({"tz": "/etc/localtime"}, "time zone"),
        ({"tz": "Europe"}, "time zone"),
        ({"tz": "a" * 300}, "time zone"),
        ({"step": "hour", "from": "-30000000"}, "step=day"),
        ({"from": "20", "to": "10"}, "before"),
    ],
)
def test_what_fits_the_description_and_cannot_be_meant_is_422(
    page: RunningPage, query: dict[str, str], word: str
) -> None:
    answer = get(page, "usage/series", **query)
    assert answer.status_code == 422
    assert word in answer.json()["error"]


def test_an_unknown_worker_is_said(page: RunningPage) -> None:
    answer = get(page, "usage", worker="never-was")
    assert answer.status_code == 404
    assert "never-was" in answer.json()["error"]


def test_thousands_of_years_are_answered_at_once(page: RunningPage, used: WorkerDouble) -> None:
    answer = get(page, "usage/series", worker=used.id, **{"from": "0", "to": "253000000000"})
    assert answer.status_code == 200
    assert len(answer.json()["time"]) < 1000
