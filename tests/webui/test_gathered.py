"""Answers of many workers, gathered: by the API, and on the page with differences, progress and another run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gpumon.commands import Command
from tests.support import eventually
from tests.webui.conftest import LiveClient
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]
Live = Callable[[str], LiveClient]


def answered(page: RunningPage, command_id: str) -> Any:
    """Return what is gathered of a command."""
    return page.session("vera").get(f"{page.address}/api/v1/commands/{command_id}/gathered", timeout=10).json()


def sent(client: LiveClient, doubles: list[WorkerDouble], text: str) -> list[Command]:
    """Run a command on these workers and return what each of them got."""
    eventually(lambda: client.knows(*doubles))
    assert "id" in client.ask("run", {"command": text, "workers": [double.id for double in doubles]})
    return [double.next_command() for double in doubles]


def test_equal_outputs_are_gathered_whatever_their_pieces_and_others_show_how_they_differ(
    page: RunningPage, worker: Workers, live: Live
) -> None:
    doubles = [worker(f"gather-{number}", [idle(0)]) for number in range(4)]
    commands = sent(live("olaf"), doubles, "uname -r")
    for double, command, pieces in zip(
        doubles, commands, (["5.15\n", "x\n"], ["5.", "15\nx\n"], ["6.8\nx\n"], None), strict=True
    ):
        for piece in pieces or []:
            double.write(command, piece)
        if pieces is not None:
            double.end(command, 0)

    def gathered() -> Any:
        answer = answered(page, commands[0].id)
        return answer if answer["unfinished"] == 1 else None

    groups = eventually(gathered)["groups"]

    assert [group["workers"] for group in groups] == [[doubles[0].id, doubles[1].id], [doubles[2].id]]
    assert groups[0]["diff"] is None
    assert "-5.15\n+6.8\n x" in groups[1]["diff"]


def test_the_same_output_with_another_exit_code_is_another_answer(
    page: RunningPage, worker: Workers, live: Live
) -> None:
    doubles = [worker("exit", [idle(0)]) for _ in range(2)]
    commands = sent(live("olaf"), doubles, "true")
    for code, (double, command) in enumerate(zip(doubles, commands, strict=True)):
        double.end(command, code)

    eventually(lambda: answered(page, commands[0].id)["unfinished"] == 0)

    assert sorted(group["exit_code"] for group in answered(page, commands[0].id)["groups"]) == [0, 1]


def test_what_differs_is_shown_and_the_failed_run_again(tab: Page, page: RunningPage, worker: Workers) -> None:
    doubles = [worker("rerun", [idle(0)]) for _ in range(3)]
    tab.goto(f"{page.address}/?q=worker:rerun")
    for double in doubles:
        tab.get_by_label(f"Select {double.id}").check()
    tab.get_by_label("Command for all selected workers").fill("cat /etc/os-release")
    tab.get_by_role("button", name="Run on 3").click()
    commands = [double.next_command() for double in doubles]
    for number, (double, command) in enumerate(zip(doubles, commands, strict=True)):
        double.write(command, f"name\nversion {number // 2}\n")
        double.end(command, number // 2)
    expect(tab.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "3")

    tab.get_by_role("button", name="Gathered").click()
    expect(tab.locator(".gathered-told")).to_have_text("2\u00a0workers: same output; 1 differ.")
    expect(tab.locator(".diff-added")).to_contain_text(["+version 1"])
    tab.get_by_role("button", name="Run again on 1 failed").click()

    again = doubles[2].next_command()
    assert (again.command, again.id != commands[2].id) == ("cat /etc/os-release", True)
    assert doubles[0].received.empty()


def test_a_command_for_many_workers_asks_first(tab: Page, page: RunningPage, worker: Workers) -> None:
    doubles = [worker("ask", [idle(0)]) for _ in range(11)]
    tab.goto(f"{page.address}/?q=worker:ask-")
    expect(tab.locator(".table-body .row")).to_have_count(11)
    tab.get_by_label("Select all shown workers").check()
    tab.get_by_label("Command for all selected workers").fill("reboot")
    tab.get_by_role("button", name="Run on 11").click()
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_contain_text("Run on 11 workers?")
    expect(dialog).to_contain_text("reboot")
    dialog.get_by_role("button", name="Leave it").click()
    expect(tab.get_by_label("Command for all selected workers")).to_have_value("reboot")
    assert all(double.received.empty() for double in doubles)

    tab.get_by_role("button", name="Run on 11").click()
    dialog.get_by_role("button", name="Run on 11").click()

    assert {double.next_command().command for double in doubles} == {"reboot"}


def test_commands_are_found_by_their_text_and_author(tab: Page, page: RunningPage, worker: Workers, live: Live) -> None:
    double = worker("history", [idle(0)])
    client = live("olaf")
    for text in ("df -h /scratch", "uptime"):
        (command,) = sent(client, [double], text)
        double.end(command, 0)
    tab.goto(f"{page.address}/commands")
    tab.get_by_label("Search commands").fill("SCRATCH")
    listed = tab.locator(".command-list li")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("df -h /scratch")

    tab.get_by_label("Search commands").fill("100%")
    expect(tab.get_by_text("No command matches")).to_be_visible()
