"""Running and cancelling commands from the page, and watching them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import eventually
from tests.webui.conftest import LiveClient
from tests.webui.worker_double import WorkerDouble, idle

Workers = Callable[..., WorkerDouble]
Live = Callable[[str], LiveClient]


def test_a_command_runs_on_two_workers_and_its_output_arrives_whole_and_in_order(worker: Workers, live: Live) -> None:
    doubles = [worker("w", [idle(0)]) for _ in range(2)]
    names = [double.id for double in doubles]
    client = live("olaf")
    eventually(lambda: client.knows(*doubles))

    command_id = client.ask("run", {"command": "seq 300", "workers": names, "timeout_s": 30})["id"]
    assert client.watch(f"command:{command_id}")["command"]["by"] == "olaf"
    for exit_code, double in enumerate(doubles):
        command = double.next_command()
        assert (command.id, command.command, command.timeout_s) == (command_id, "seq 300", 30)
        for line in range(300):
            double.write(command, f"{double.id} {line}\n")
        double.end(command, exit_code)

    def progress() -> list[dict[str, Any]]:
        return client.of("command_progress")

    eventually(lambda: any(step["ended"] for step in progress()))
    pieces = [piece for step in progress() for piece in step["output"]]
    for double in doubles:
        own = [piece for piece in pieces if piece["worker_id"] == double.id]
        assert [piece["seq"] for piece in own] == list(range(300))
        assert "".join(piece["data"] for piece in own) == "".join(f"{double.id} {line}\n" for line in range(300))
    finished = [target for step in progress() for target in step["targets"] if target["state"] == "finished"]
    assert {target["worker_id"]: target["exit_code"] for target in finished} == dict(zip(names, (0, 1), strict=True))
    assert len(progress()) < 60


def test_a_command_can_be_cancelled_on_one_worker(worker: Workers, live: Live) -> None:
    first, second = (worker("w", [idle(0)]) for _ in range(2))
    client = live("olaf")
    eventually(lambda: client.knows(first, second))
    command_id = client.ask("run", {"command": "sleep 100", "workers": [first.id, second.id]})["id"]
    for double in (first, second):
        double.next_command()

    assert client.ask("cancel", {"id": command_id, "workers": [second.id]}) == {}

    assert second.next_cancel().id == command_id
    assert first.received.empty()


def test_a_viewer_may_neither_run_nor_cancel(worker: Workers, live: Live) -> None:
    double = worker("w", [idle(0)])
    client = live("vera")
    eventually(lambda: client.knows(double))

    assert "viewers may watch" in client.ask("run", {"command": "true", "workers": [double.id]})["error"]
    assert "viewers may watch" in client.ask("cancel", {"id": "c-1"})["error"]
    assert double.received.empty()


@pytest.mark.parametrize(
    "data",
    [
        None,
        "true",
        {},
        {"command": "", "workers": ["w1"]},
        {"command": "true", "workers": []},
        {"command": "true", "workers": ["nobody"]},
        {"command": "true", "workers": ["nobody"], "timeout_s": -1},
        {"command": "true", "workers": ["nobody"], "timeout_s": "soon"},
        {"command": "x" * 70_000, "workers": ["nobody"]},
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_what_is_wrong(live: Live, data: object) -> None:
    assert live("olaf").ask("run", data)["error"]


def test_commands_of_others_appear_in_the_lists_that_are_watched(worker: Workers, live: Live) -> None:
    double = worker("w", [idle(0)])
    watching, running = live("vera"), live("olaf")
    eventually(lambda: running.knows(double))
    watching.watch("commands")
    assert watching.watch(f"worker:{double.id}")["commands"] == []

    command_id = running.ask("run", {"command": "true", "workers": [double.id]})["id"]
    double.end(double.next_command(), 3)

    listed = eventually(lambda: [c for c in watching.of("command_listed") if c["id"] == command_id and c["ended"]])
    assert (listed[0]["counts"], listed[0]["nonzero"]) == ({"finished": 1}, 1)
    eventually(lambda: [told["command"]["target"]["exit_code"] for told in watching.of("worker_command")][-1:] == [3])
