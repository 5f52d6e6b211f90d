"""History over the real server."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support import eventually
from tests.webui.conftest import NUMBERS
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, lost, reading

CARD = "GPU-00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def watched(page: RunningPage) -> Iterator[WorkerDouble]:
    """A worker of which a sample is in the history."""
    double = WorkerDouble(page.mqtt_port, f"history-{next(NUMBERS)}").start([reading(0), idle(1), lost(2)])
    eventually(lambda: CARD in get(page, f"{double.id}/gpus").json().get("gpus", ()))
    yield double
    double.stop()


def get(page: RunningPage, path: str) -> requests.Response:
    """Ask for something of a worker, as a viewer."""
    return page.session("vera").get(f"{page.address}/api/v1/workers/{path}", timeout=10)


@pytest.mark.parametrize("path", ["gpus", "history", "history.csv", "history.json", f"gpus/{CARD}/history"])
def test_history_is_not_told_to_who_is_not_logged_in(page: RunningPage, path: str) -> None:
    assert requests.get(f"{page.address}/api/v1/workers/w1/{path}", timeout=10).status_code == 401


def test_a_cards_history_comes_by_columns(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history?metric=power_w,fan_percent&from=-600").json()

    assert answer["worker"] == watched.id
    assert answer["uuid"] == CARD
    assert answer["source"] == "raw"
    assert answer["raw_window_s"] == 3600
    assert answer["problem"] is None
    assert set(answer["series"]) == {"power_w", "fan_percent"}
    assert answer["series"]["power_w"]["mean"][0] == 612.4
    assert set(answer["series"]["fan_percent"]["max"]) == {None}
    lengths = {len(column) for series in answer["series"].values() for column in series.values()}
    assert lengths == {len(answer["time"])}


def test_the_hosts_history_comes_without_a_uuid(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/history").json()

    assert answer["uuid"] is None
    assert answer["series"]["cpu_percent"]["mean"][0] == 12.5


def test_more_history_than_the_raw_samples_is_rolled_up(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history?from=-86400&metric=power_w&points=500").json()

    assert answer["source"] == "1min"
    assert answer["step_s"] == 180
    assert len(answer["time"]) in (480, 481)
    assert answer["series"]["power_w"]["mean"][-1] == 612.4


def test_a_lost_card_has_no_readings_and_is_no_error(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/gpus/{lost(2).uuid}/history")

    assert answer.status_code == 200
    assert not any(answer.json()["series"]["power_w"]["mean"])


def test_history_can_be_kept_as_a_table(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history.csv?metric=power_w,fan_percent&from=-600")
    head, first, *_ = csv.reader(answer.text.splitlines())

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{watched.id}-{CARD}-')
    assert head[:3] == ["time", "time_utc", "power_w_mean"]
    assert first[1].startswith("20")
    assert first[2:] == ["612.4", "612.4", "612.4", "", "", ""]


def test_history_can_be_kept_as_json(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/history.json?from=-86400")

    assert answer.headers["Content-Disposition"].endswith('.json"')
    assert any(answer.json()["series"]["cpu_percent"]["mean"])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("metric=colour", "metric 'colour' has no history: choose from utilization_percent, "),
        ("metric=", "metric '' has no history"),
        ("points=9", "`int` >= 10 - at `$.points`"),
        ("points=5001", "`int` <= 5000 - at `$.points`"),
        ("points=99999999999999999999", "`$.points`"),
        ("points=null", "`$.points`"),
        ("points=20&points=30", "points is given 2 times"),
        ("from=yesterday", "`$.from` (in seconds since 1970, or a negative number of seconds before now)"),
        ("to=nan", "`$.to` (in seconds since 1970"),
        ("to=inf", "`$.to` (in seconds since 1970"),
        ("from=-1e300", "`$.from` (in seconds since 1970"),
        ("from=null", "leave from out"),
    ],
)
def test_a_bad_argument_is_answered_with_a_sentence(
    page: RunningPage, watched: WorkerDouble, query: str, said: str
) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history?{query}")

    assert answer.status_code == 400
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=200&to=100", "from (200) must be before to (100)"),
        ("metric=cpu_percent", "metric 'cpu_percent' has no history"),  # of a card
    ],
)
def test_what_fits_the_description_and_cannot_be_meant_is_422(
    page: RunningPage, watched: WorkerDouble, query: str, said: str
) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history?{query}")

    assert answer.status_code == 422
    assert answer.json()["error"].startswith(said)


@pytest.mark.parametrize("path", ["nobody/gpus", "nobody/history", f"nobody/gpus/{CARD}/history", "nobody/history.csv"])
def test_an_unknown_worker_is_404(page: RunningPage, path: str) -> None:
    answer = get(page, path)

    assert answer.status_code == 404
    assert "nobody" in answer.json()["error"]


def test_an_unknown_card_is_404(page: RunningPage, watched: WorkerDouble) -> None:
    answer: Any = get(page, f"{watched.id}/gpus/GPU-nothing/history")

    assert answer.status_code == 404


def test_thousands_of_years_are_answered_at_once(page: RunningPage, watched: WorkerDouble) -> None:
    answer = get(page, f"{watched.id}/gpus/{CARD}/history.json?from=0&to=253000000000")

    assert answer.status_code == 200
    assert any(answer.json()["series"]["power_w"]["mean"])
