"""The API does what its description says, tried by a program that reads nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gpumon.datafolder import DataFolder
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.conftest import unstarted_app
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, reading
from webui.openapi import describe
from webui.typed import signature_of

# What a description cannot say: that `from` is before `to`, which labels there are, or what a rule's fields may hold.
PASSED_OVER = [positive_data_acceptance]

with tempfile.TemporaryDirectory() as folder:
    DESCRIBED = describe(unstarted_app(Path(folder)))
FOUND = schemathesis.openapi.from_dict(DESCRIBED).get_all_operations()
OPERATIONS = {result.ok().label: result.ok() for result in FOUND if isinstance(result, Ok)}


@pytest.fixture(scope="module")
def token(page: RunningPage) -> str:
    """An admin's API token."""
    with open_accounts(DataFolder(page.data)) as accounts:
        return accounts.tokens.make("alice", "schemathesis")[1]


@pytest.fixture(scope="module")
def worker(page: RunningPage) -> Iterator[WorkerDouble]:
    """A worker with two cards, of which the API has something to tell."""
    double = WorkerDouble(page.mqtt_port, "described").start([reading(0), idle(1)])
    yield double
    double.stop()


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_is_answered_is_what_was_described(
    page: RunningPage, token: str, worker: WorkerDouble, label: str
) -> None:
    @given(case=OPERATIONS[label].as_strategy())
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    def try_it(case: Any) -> None:
        case.call_and_validate(
            base_url=page.address,
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=PASSED_OVER,
            timeout=30,
        )

    try_it()


def test_what_is_served_is_this_description(page: RunningPage, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    told = requests.get(f"{page.address}/api/v1/openapi.json", headers=headers, timeout=10).json()
    assert told["paths"].keys() == DESCRIBED["paths"].keys()


def test_every_view_of_the_api_is_described(tmp_path: Path) -> None:
    app = unstarted_app(tmp_path)
    untold = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and signature_of(app.view_functions[rule.endpoint]) is None
    }
    assert untold == {"/api/v1/openapi.json"}


def test_the_description_names_rights_and_types(tmp_path: Path) -> None:
    told = describe(unstarted_app(tmp_path))
    run = told["paths"]["/api/v1/commands"]["post"]
    assert run["description"].endswith("For those who may run commands.")
    assert run["security"] == [{"token": []}, {"session": []}]
    assert set(told["components"]["schemas"]["RunRequest"]["required"]) == {"command"}
    assert told["paths"]["/api/v1/users"]["get"]["security"] == [{"session": []}]


def test_a_problem_is_told_as_the_standard_has_it(page: RunningPage, token: str) -> None:
    answer = requests.get(
        f"{page.address}/api/v1/workers?limit=none", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "That cannot be used", 400)
    assert "$.limit" in problem["detail"]


def test_workers_come_in_pages(page: RunningPage, token: str, worker: WorkerDouble) -> None:
    others = [WorkerDouble(page.mqtt_port, f"paged-{number}").start([idle(0)]) for number in range(3)]
    headers = {"Authorization": f"Bearer {token}"}

    def all_pages() -> list[str]:
        found: list[str] = []
        after: str | None = ""
        while after is not None and len(found) < 20:
            asked = f"{page.address}/api/v1/workers?limit=2&after={after}"
            told = requests.get(asked, headers=headers, timeout=10).json()
            found += [row["id"] for row in told["rows"]]
            after = told["next"]
        return found

    eventually(lambda: {worker.id, *(other.id for other in others)} <= set(all_pages()))
    assert all_pages() == sorted(set(all_pages()))
    for other in others:
        other.stop()
