"""The page in a real Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from gpumon.messages import Event, Process
from tests.support import eventually
from tests.webui.browsing import PHONE, fits, logged_in, row_of, shown_names
from tests.webui.running import PASSWORDS, RunningPage
from tests.webui.worker_double import WorkerDouble, idle, lost, mig, reading

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]
Open = Callable[..., Page]

NONE = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
EVIL = "<img src=x onerror=alert(1)>"


def test_a_person_logs_in_and_out(browser: Browser, page: RunningPage) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(f"{page.address}/commands")
    tab.get_by_label("Name").fill("olaf")
    tab.get_by_label("Password").fill("a wrong password")
    tab.get_by_role("button", name="Log in").click()
    expect(tab.get_by_role("alert")).to_have_text("Name or password is wrong.")

    tab.get_by_label("Password").fill(PASSWORDS["olaf"])
    tab.get_by_role("button", name="Log in").click()
    expect(tab.get_by_role("heading", name="Commands")).to_be_visible()
    expect(tab.get_by_text("olaf · operator")).to_be_visible()

    tab.get_by_role("button", name="Log out").click()
    expect(tab.get_by_role("button", name="Log in")).to_be_visible()
    context.close()


def test_an_empty_fleet_says_how_to_join_and_a_lost_connection_is_told_until_all_is_fresh_again(
    browser: Browser, own_page: RunningPage
) -> None:
    with logged_in(browser, own_page, "olaf") as tab:
        tab.goto(own_page.address)
        expect(tab.get_by_text("gpumon join-key", exact=True)).to_be_visible()

        double = WorkerDouble(own_page.mqtt_port, "w1").start([reading(0, utilization_percent=11)])
        expect(row_of(tab, double)).to_contain_text("online")
        expect(row_of(tab, double)).to_contain_text("11 %")

        own_page.stop()
        expect(tab.locator(".banner")).to_contain_text("Not live")
        expect(tab.locator(".banner")).to_contain_text("What is shown is from")
        double.sample([reading(0, utilization_percent=22)])
        own_page.start()

        expect(tab.locator(".pill")).to_have_text("Live", timeout=15_000)
        expect(tab.locator(".banner")).to_have_count(0)
        expect(row_of(tab, double)).to_contain_text("22 %")
        double.stop()
        expect(row_of(tab, double)).to_contain_text("offline")


def test_rows_follow_the_samples(tab: Page, page: RunningPage, worker: Workers) -> None:
    double = worker("live", [reading(0, utilization_percent=10), lost(1)], source="simulated")
    tab.goto(f"{page.address}/?q={double.id}")
    row = row_of(tab, double)
    expect(row).to_contain_text("10 %")
    expect(row).to_contain_text("simulated")
    expect(row.locator(".gpu-cell").nth(1)).to_have_attribute("title", re.compile("lost"))

    double.sample([reading(0, utilization_percent=97, temperature_c=91), lost(1)])

    expect(row).to_contain_text("97 %")
    expect(row.locator(".is-hot")).to_have_text("91\u00a0°C")


def test_rows_are_searched_and_sorted(tab: Page, page: RunningPage, worker: Workers) -> None:
    loads = {"find-a": 30, "find-b": 90, "find-c": 60}
    made = [
        worker(name, [reading(0, utilization_percent=load)], labels={"hall": "sorted"}) for name, load in loads.items()
    ]
    a, b, c = (double.id for double in made)
    tab.goto(page.address)
    tab.get_by_placeholder("Search").fill("hall=SORTED h200")
    expect(tab.locator(".table-body .row")).to_have_count(3)
    assert shown_names(tab) == [a, b, c]

    tab.get_by_role("button", name="Utilization").click()
    eventually(lambda: shown_names(tab) == [b, c, a])
    tab.get_by_role("button", name="Utilization").click()
    eventually(lambda: shown_names(tab) == [a, c, b])
    expect(tab.get_by_role("columnheader", name="Utilization")).to_have_attribute("aria-sort", "ascending")

    tab.get_by_placeholder("Search").fill("hall=sorted nobody-has-this")
    expect(tab.get_by_text("No worker matches")).to_be_visible()


def test_names_that_look_like_markup_stay_text(tab: Page, page: RunningPage, worker: Workers) -> None:
    process = Process(pid=1, user=EVIL, name=EVIL, command=EVIL, container=EVIL, memory_bytes=1)
    evil = reading(0, name=EVIL, processes=[process], throttle_reasons=[EVIL])
    double = worker("evil", [evil], labels={EVIL: EVIL}, hostname=EVIL)
    double.event(Event(time=time.time(), kind="health", text=EVIL))
    tab.goto(f"{page.address}/?q={double.id}")
    row = row_of(tab, double)
    row.get_by_label(f"Command for {double.id}").fill(f"echo '{EVIL}'")
    row.get_by_role("button", name="Run").click()
    command = double.next_command()
    double.write(command, EVIL)
    double.end(command, None, state="failed", problem=EVIL)
    expect(tab.locator(".output")).to_have_text(EVIL)
    expect(tab.locator(".target")).to_contain_text(EVIL)

    for path in (f"/workers/{double.id}", "/commands", f"/commands/{command.id}"):
        tab.goto(page.address + path)
        expect(tab.locator("main").get_by_text(EVIL).first).to_be_visible()
        assert tab.locator("main img").count() == 0


def test_a_command_runs_on_two_workers_while_its_output_is_watched(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    first, second = worker("run-a", [idle(0)]), worker("run-b", [idle(0)])
    tab.goto(page.address)
    tab.get_by_placeholder("Search").fill("run-")
    tab.get_by_label(f"Select {first.id}").check()
    tab.get_by_label(f"Select {second.id}").check()
    expect(tab.locator(".selection")).to_contain_text(f"{first.id}, {second.id}")
    tab.get_by_label("Command for all selected workers").fill("make test")
    tab.get_by_label("Timeout in seconds").fill("90")
    tab.get_by_role("button", name="Run on 2").click()
    commands = [double.next_command() for double in (first, second)]
    assert [command.timeout_s for command in commands] == [90, 90]

    targets = {double.id: tab.locator(f'.target[data-worker="{double.id}"]') for double in (first, second)}
    first.write(commands[0], "one\n\x1b[32mtwo\x1b[")
    expect(targets[first.id].locator(".output")).to_have_text("one\ntwo")
    expect(targets[first.id]).to_contain_text("running")
    first.write(commands[0], "0m\n")
    first.write(commands[0], "wrong\n", "stderr")
    expect(targets[first.id].locator(".output-stderr")).to_have_text("wrong\n")
    first.end(commands[0], 0)
    second.end(commands[1], 2)
    expect(targets[first.id]).to_contain_text("exit 0")
    expect(targets[second.id]).to_contain_text("exit 2")
    expect(targets[second.id]).to_contain_text("No output.")

    tab.get_by_role("button", name="failed 1").click()
    expect(targets[first.id]).to_have_count(0)
    expect(targets[second.id]).to_be_visible()


def test_a_command_s_address_survives_a_reload_in_the_middle_without_gap_or_repeat(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    double = worker("reload", [idle(0)])
    tab.goto(f"{page.address}/?q={double.id}")
    row = row_of(tab, double)
    row.get_by_label(f"Command for {double.id}").fill("seq 60")
    row.get_by_role("button", name="Run").click()
    command = double.next_command()
    tab.get_by_role("link", name="Open", exact=True).click()
    tab.wait_for_url(f"**/commands/{command.id}")
    for line in range(20):
        double.write(command, f"line {line}\n")
    expect(tab.locator(".output")).to_contain_text("line 19")

    tab.reload(wait_until="commit")
    for line in range(20, 60):
        double.write(command, f"line {line}\n")
        time.sleep(0.01)  # spread over the reload
    expect(tab.locator(".output")).to_contain_text("line 59")
    assert tab.locator(".output").inner_text().split("\n")[:60] == [f"line {line}" for line in range(60)]

    tab.get_by_role("button", name="Cancel", exact=True).click()
    assert double.next_cancel().id == command.id
    double.end(command, None, state="cancelled")
    expect(tab.locator(".target")).to_contain_text("cancelled")


def test_a_worker_s_page_shows_every_reading_and_tells_none_from_zero(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    double = worker("view", [reading(0, encoder_percent=0, fan_percent=None), mig(1), lost(2)], labels={"rack": "3"})
    double.event(Event(time=time.time(), kind="xid", gpu=reading(0).uuid, value=79, text="it fell off the bus"))
    tab.goto(f"{page.address}/workers/{double.id}")
    card = tab.get_by_role("article", name="GPU 0")

    def value(name: str) -> str:
        line = card.locator(".reading-line").filter(has=tab.locator("dt", has_text=re.compile(f"^{name}$")))
        return str(line.locator("dd").inner_text())

    expect(card).to_contain_text("612\u00a0W")
    card.get_by_text("All readings").click()
    assert value("Fan") == NONE
    assert value("Encoder") == "0\u00a0%"
    assert value("ECC uncorrected") == "0"
    assert value("Tensor cores") == "41.2\u00a0%"
    expect(card.locator(".gpu-activity")).to_have_text(re.compile("SMs 76.1.*Tensor cores 41.2.*bandwidth 38.0"))
    assert value("PCIe link") == f"gen 5 {TIMES}16"
    assert value("Clocks held back") == "held by the power limit"
    expect(tab.get_by_role("article", name="GPU 1")).to_contain_text("1g.18gb")
    expect(tab.get_by_role("article", name="GPU 1").locator(".small-table")).to_contain_text("11\u00a0%")
    expect(tab.locator(".gpu-lost .gpu-activity")).to_have_count(0)
    expect(tab.locator(".gpu-lost")).to_contain_text("lost")
    expect(tab.locator(".processes")).to_contain_text("python train.py")
    expect(tab.locator(".events")).to_contain_text("GPU 0: it fell off the bus")
    expect(tab.get_by_text(f"gpumon/{double.id}/cmd", exact=True)).to_be_visible()

    double.sample([reading(0, encoder_percent=7)])
    eventually(lambda: value("Encoder") == "7\u00a0%")


def test_nothing_sticks_out_on_a_phone(browser: Browser, page: RunningPage, worker: Workers) -> None:
    many = [reading(index) for index in range(20)]
    double = worker("phone-" + "long-name-" * 5, many, labels={"note": "a label that is rather long" * 3})
    with logged_in(browser, page, "olaf", PHONE) as tab:
        tab.goto(page.address)
        tab.get_by_placeholder("Search").fill("phone-")
        row = row_of(tab, double)
        expect(row).to_contain_text("online")
        assert fits(tab)
        row.get_by_label(f"Select {double.id}").check()
        tab.get_by_label("Command for all selected workers").fill("x" * 200)
        tab.get_by_role("button", name="Run on 1").click()
        command = double.next_command()
        double.write(command, "y" * 500)
        expect(tab.locator(".output")).to_contain_text("yyy")
        assert fits(tab)
        for path in (f"/workers/{double.id}", "/commands", f"/commands/{command.id}"):
            tab.goto(page.address + path)
            expect(tab.get_by_text("x" * 50).first).to_be_attached()
            assert fits(tab)
        double.end(command)


def test_a_viewer_sees_no_command_field(browser: Browser, page: RunningPage, worker: Workers) -> None:
    double = worker("seen", [idle(0)])
    with logged_in(browser, page, "vera") as tab:
        tab.goto(f"{page.address}/?q={double.id}")
        expect(row_of(tab, double)).to_contain_text("online")
        expect(tab.locator(".command-input")).to_have_count(0)
        expect(tab.get_by_role("checkbox")).to_have_count(0)
        tab.goto(f"{page.address}/workers/{double.id}")
        expect(tab.locator(".gpu-card")).to_be_visible()
        expect(tab.locator(".command-input")).to_have_count(0)


def test_a_large_fleet_draws_only_what_is_in_sight(tab: Page, page: RunningPage, worker: Workers) -> None:
    doubles = [worker(f"many-{number:02d}", [idle(0)]) for number in range(40)]
    tab.goto(page.address)
    tab.get_by_placeholder("Search").fill("many-")
    expect(tab.locator(".shown-count")).to_contain_text("40\u00a0workers of")
    assert tab.locator(".table-body .row").count() < 30

    tab.keyboard.press("End")
    tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")

    expect(row_of(tab, doubles[-1])).to_be_visible()
    expect(row_of(tab, doubles[0])).to_have_count(0)


WRITES = [
    (["plain\n"], "plain\n"),
    (["\x1b[1;31mred\x1b[0m\n"], "red\n"),
    (["a\x1b[3", "1mb\x1b[0", "m\n"], "ab\n"),
    (["\x1b]0;title\x07text\n"], "text\n"),
    (["10%\r50%\r100%\n"], "100%\n"),
    (["one\n10%\r", "50%\r", "\ndone\n"], "one\n50%\ndone\n"),
    (["windows\r\nlines\r\n"], "windows\nlines\n"),
    (["bell\x07 and \x00null\n"], "bell and null\n"),
]


@pytest.mark.parametrize(("writes", "shown"), WRITES)
def test_output_is_shown_as_a_terminal_would_leave_it(
    tab: Page, page: RunningPage, writes: list[str], shown: str
) -> None:
    tab.goto(page.address)
    text = tab.evaluate(
        """async (writes) => {
            const folder = document.querySelector("script[type=module]").src.replace("main.js", "");
            const { emptyScreen, written } = await import(folder + "lib/terminal.js");
            const screen = writes.reduce((now, data) => written(now, "stdout", data), emptyScreen);
            return screen.pieces.map((piece) => piece.text).join("");
        }""",
        writes,
    )

    assert text == shown
