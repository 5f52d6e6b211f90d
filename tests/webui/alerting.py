"""What the tests of alerts share: rules that fire at once on workers of their own, and asking the API as somebody."""

from __future__ import annotations

import itertools
from typing import Any

import requests

from tests.support import eventually
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble

NUMBERS = itertools.count(1)


def ask(page: RunningPage, who: str, method: str, path: str, body: Any = None) -> requests.Response:
    """Send a request to the API as somebody who is logged in."""
    session = page.session(who)
    token = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
    address = f"{page.address}/api/v1/{path}"
    return session.request(method, address, json=body, headers={"X-CSRFToken": token}, timeout=10)


def rule(page: RunningPage, name: str = "too-hot", **fields: Any) -> tuple[str, dict[str, str]]:
    """Make a rule that fires at once from 85 °C, for workers with labels of its own; return its name and those."""
    number = next(NUMBERS)
    labels = {"test": f"t{number}"}
    values = {"kind": "temperature", "severity": "page", "above": "85 °C", "for_s": 0, "labels": labels}
    answer = ask(page, "alice", "PUT", f"alerts/rules/{name}-{number}", {**values, **fields})
    assert answer.ok, answer.text
    return f"{name}-{number}", labels


def firing(page: RunningPage, worker: WorkerDouble, count: int = 1) -> list[dict[str, Any]]:
    """Return a worker's firing alerts, once there are so many."""

    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = ask(page, "vera", "GET", f"alerts?worker={worker.id}").json()["alerts"]
        return len(found) == count

    eventually(are_there)
    return found
