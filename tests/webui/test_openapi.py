"""The API does what its description says, tried by a program that reads nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection

from gpumon.datafolder import DataFolder
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.conftest import unstarted_app
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, reading
from webui.openapi import describe
from webui.typed import signature_of

# What fits the description is never answered with 400: what cannot be meant all the same has a status of its own, 422.
ANSWERS_TO_WHAT_FITS = ["2xx", "401", "403", "404", "422", "429", "503"]
ANSWERS_TO_THE_REST = ["400", "401", "403", "404", "405", "413", "414", "415", "422", "429"]
CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ANSWERS_TO_WHAT_FITS},
            "negative_data_rejection": {"expected-statuses": ANSWERS_TO_THE_REST},
        },
        # An alert could have the id "acknowledge", a rule the name "check": OPTIONS lists the methods of both paths.
        "operations": [
            {"include-path": path, "checks": {"allow_header_conformance": {"enabled": False}}}
            for path in ("/api/v1/alerts/acknowledge", "/api/v1/alerts/rules/check")
        ],
    }
)

with tempfile.TemporaryDirectory() as folder:
    DESCRIBED = describe(unstarted_app(Path(folder)))
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED, config=CONFIG)


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


@SCHEMA.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_answered_is_what_was_described(case: Any, page: RunningPage, token: str, worker: WorkerDouble) -> None:
    if "Not with an API token" in case.operation.definition.raw["description"]:
        session = page.session("alice")
        csrf = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
        case.call_and_validate(
            base_url=page.address,
            session=session,
            headers={"X-CSRFToken": csrf},
            excluded_checks=[ignored_auth, negative_data_rejection],  # these would have it sent without the cookie
            timeout=30,
        )
    else:
        case.call_and_validate(base_url=page.address, headers={"Authorization": f"Bearer {token}"}, timeout=30)


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
    assert problem["see"] == "docs/api.md#problems"


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
