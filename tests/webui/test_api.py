"""The JSON API over the real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from gpumon.topics import Channel
from tests.support import eventually
from tests.webui.conftest import LiveClient
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, lost, reading

Workers = Callable[..., WorkerDouble]


def get(page: RunningPage, session: requests.Session, path: str) -> Any:
    return session.get(f"{page.address}/api/v1/{path}", timeout=10).json()


@pytest.mark.parametrize(
    "path", ["session", "workers", "workers/w1", "commands", "commands/c-1", "commands/c-1/output"]
)
def test_nothing_is_told_to_who_is_not_logged_in(page: RunningPage, path: str) -> None:
    assert requests.get(f"{page.address}/api/v1/{path}", timeout=10).status_code == 401


def test_health_is_told_to_anybody(page: RunningPage) -> None:
    answer = requests.get(f"{page.address}/healthz", timeout=10)

    assert answer.json() == {"status": "ok", "broker": "connected", "database": "written", "history": "kept"}


def test_a_row_sums_up_its_worker(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0, utilization_percent=80), idle(1), lost(2)], labels={"rack": "3"})
    session = page.session("vera")

    row = eventually(lambda: [r for r in get(page, session, "workers")["rows"] if r["id"] == double.id and r["gpus"]])[
        0
    ]

    assert row["state"] == "gpu_lost"
    assert row["labels"] == {"rack": "3"}
    assert row["utilization_percent"] == 40
    assert row["memory_used_bytes"] == 61 * GIB
    assert row["memory_total_bytes"] == 282 * GIB
    assert row["hottest_c"] == 42
    assert row["power_w"] == pytest.approx(687.4)
    assert row["users"] == ["research"]
    assert [gpu["state"] for gpu in row["gpus"]] == ["ok", "ok", "lost"]
    assert row["gpus"][1]["utilization_percent"] == 0
    assert row["gpus"][2]["utilization_percent"] is None
    assert len(row["problems"]) == 1


def test_a_worker_is_told_with_its_last_sample_as_it_was_published(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [])
    path = f"workers/{double.id}"
    session = page.session("vera")
    text = '{"v":1,"time":1,"seq":9,"interval_s":5,"source":"nvml","gpus":[],"from_a_later_version":{"x":1}}'
    double.publish_text(Channel.METRICS, text)

    view = eventually(lambda: (v := get(page, session, path)).get("metrics") and v["metrics"]["seq"] == 9 and v)

    assert view["metrics"]["from_a_later_version"] == {"x": 1}
    assert view["info"]["hostname"] == f"{double.id}.lab"
    assert view["topics"]["output"] == f"gpumon/{double.id}/cmd/output"


def test_an_unknown_worker_or_command_is_404(page: RunningPage) -> None:
    session = page.session("vera")

    for path in ("workers/nobody", "commands/c-nothing", "commands/c-nothing/output", "commands/c-nothing/output.txt"):
        assert session.get(f"{page.address}/api/v1/{path}", timeout=10).status_code == 404


def test_output_can_be_had_by_worker_and_as_text_to_keep(
    page: RunningPage, worker: Workers, live: Callable[[str], LiveClient]
) -> None:
    first, second = (worker("w", [idle(0)]) for _ in range(2))
    session, client = page.session("olaf"), live("olaf")
    eventually(lambda: client.knows(first, second))
    command_id = client.ask("run", {"command": "echo hello", "workers": [first.id, second.id]})["id"]
    for double in (first, second):
        command = double.next_command()
        double.write(command, f"hello from {double.id}\n")
        double.end(command)

    listed = eventually(
        lambda: [c for c in get(page, session, f"commands?worker={second.id}")["commands"] if c["ended"]]
    )[0]
    output = get(page, session, f"commands/{command_id}/output?worker={first.id}&worker=nobody")["output"]
    text = session.get(f"{page.address}/api/v1/commands/{command_id}/output.txt", timeout=10)

    assert listed["counts"] == {"finished": 2}
    assert listed["target"]["worker_id"] == second.id
    assert {name: [chunk["data"] for chunk in chunks] for name, chunks in output.items()} == {
        first.id: [f"hello from {first.id}\n"]
    }
    assert text.headers["Content-Disposition"] == f'attachment; filename="{command_id}.txt"'
    assert text.text == (
        f"==> {first.id} <==\nhello from {first.id}\n\n==> {second.id} <==\nhello from {second.id}\n\n"
    )
