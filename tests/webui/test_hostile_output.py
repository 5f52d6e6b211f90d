"""Output that is large, binary, coloured or without end keeps the page alive, and stays text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from gpumon.commands import Command
from tests.webui.browsing import row_of
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]
PIECE = 16 * 1024


def started(tab: Page, page: RunningPage, double: WorkerDouble) -> Command:
    """Run a command from the worker's row and return what the worker got."""
    tab.goto(f"{page.address}/?q={double.id}")
    row = row_of(tab, double)
    row.get_by_label(f"Command for {double.id}").fill("make noise")
    row.get_by_role("button", name="Run").click()
    return double.next_command()


def write_all(double: WorkerDouble, command: Command, text: str) -> None:
    """Write a text in pieces as an agent does."""
    for at in range(0, len(text), PIECE):
        double.write(command, text[at : at + PIECE])


def still_answers(tab: Page) -> None:
    """See that the page follows what one does."""
    tab.get_by_role("button", name="Hide output").click()
    expect(tab.get_by_role("button", name="Show output")).to_be_visible()
    tab.get_by_role("link", name="Commands", exact=True).click()
    expect(tab.get_by_role("heading", name="Commands")).to_be_visible()


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("".join(f"line {number:06d} of a long build\n" for number in range(32_000)) + "the end\n", "the end"),
        ("x" * 1_000_000 + " the end", "the end"),  # the agent publishes 1 MiB at most
        ("\x00\x01\x02\x7f\ufffd\ufffd\x1b(B\x1b]8;;http://x\x07link\x1b]8;;\x07\n" * 20_000 + "the end\n", "the end"),
        ("".join(f"\x1b[{30 + number % 8}mcolour\x1b[0m " for number in range(60_000)) + "\nthe end\n", "the end"),
        ("50%\r" * 200_000 + "the end\n", "the end"),
        ("<script>alert(1)</script>\n" * 20_000 + "the end\n", "the end"),
    ],
    ids=["a megabyte of lines", "one line without end", "binary", "colours", "progress bars", "markup"],
)
def test_hostile_output_keeps_the_page_alive(
    tab: Page, page: RunningPage, worker: Workers, text: str, end: str
) -> None:
    double = worker("noise", [idle(0)])
    command = started(tab, page, double)
    write_all(double, command, text)
    double.end(command, 0)

    expect(tab.locator(".target")).to_contain_text("exit 0", timeout=60_000)
    expect(tab.locator(".target .output")).to_contain_text(end, timeout=60_000)
    assert "\x1b" not in tab.locator(".target .output").inner_text()
    still_answers(tab)


def test_a_command_that_never_stops_writing_can_be_watched_and_cancelled(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    double = worker("endless", [idle(0)])
    command = started(tab, page, double)
    for number in range(400):
        double.write(command, f"{number} again and again\n" * 50)
    expect(tab.locator(".target .output")).to_contain_text("399 again and again", timeout=60_000)

    tab.get_by_role("button", name="Cancel", exact=True).click()

    assert double.next_cancel().id == command.id
    double.end(command, None, state="cancelled")
    expect(tab.locator(".target")).to_contain_text("cancelled")
