"""Alerts in a real browser: seen without a reload, acknowledged, silenced, acted on, and many at once in groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from gpumon.messages import Process
from tests.support import eventually
from tests.webui.alerting import ask, firing, rule
from tests.webui.browsing import DESKTOP, PHONE, fits, logged_in, row_of
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, reading

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]
HOSTILE = "<img src=x onerror=alert(1)>\u202e]" + "W" * 1024


def alert_of(tab: Page, double: WorkerDouble) -> Locator:
    """Return a worker's alerts in a list."""
    return tab.locator(".alert").filter(has=tab.get_by_role("link", name=double.id, exact=True))


def test_an_alert_is_seen_everywhere_without_a_reload(tab: Page, page: RunningPage, worker: Workers) -> None:
    _, labels = rule(page)
    double = worker("fires", [reading(0), reading(1)], labels=labels)
    tab.goto(f"{page.address}/?q=worker:{double.id}")
    expect(row_of(tab, double)).to_be_visible()
    expect(row_of(tab, double).locator(".alert-mark")).to_have_count(0)

    double.sample([reading(0), reading(1, temperature_c=91)])

    mark = row_of(tab, double).locator(".alert-mark")
    expect(mark).to_have_attribute("aria-label", f"a page alert fires on {double.id}")
    expect(row_of(tab, double).locator(".gpu-cell").nth(1)).to_have_class(re.compile("has-page"))
    expect(row_of(tab, double).locator(".gpu-cell").nth(0)).not_to_have_class(re.compile("has-alert"))
    expect(tab.locator(".tile-alerts .alert-count-page")).to_be_visible()
    expect(tab.locator(".page-header .alert-count-page")).to_be_visible()
    expect(tab).to_have_title(re.compile(r"^\(\d+\) gpumon$"))

    tab.locator(".alerts-link").click()
    expect(tab).to_have_title(re.compile(r"^\(\d+\) Alerts · gpumon$"))
    expect(alert_of(tab, double)).to_contain_text("91\u00a0°C")
    expect(alert_of(tab, double)).to_contain_text("limit 85\u00a0°C")
    expect(alert_of(tab, double)).to_contain_text("GPU 1")

    double.sample([reading(0), reading(1, temperature_c=40)])
    expect(alert_of(tab, double)).to_have_count(0)
    tab.get_by_role("navigation", name="Alerts").get_by_role("link", name="Past").click()
    expect(alert_of(tab, double)).to_contain_text("lasted")


def test_an_operator_acknowledges_and_a_viewer_sees_by_whom(
    browser: Browser, tab: Page, page: RunningPage, worker: Workers
) -> None:
    _, labels = rule(page)
    double = worker("seen", [reading(0, temperature_c=91)], labels=labels)
    firing(page, double)
    with logged_in(browser, page, "vera") as viewers:
        viewers.goto(f"{page.address}/alerts")
        expect(alert_of(viewers, double)).to_be_visible()
        expect(alert_of(viewers, double).get_by_role("button")).to_have_count(0)

        tab.goto(f"{page.address}/alerts")
        alert_of(tab, double).get_by_role("button", name="Acknowledge").click()

        expect(alert_of(tab, double)).to_contain_text("acknowledged by olaf")
        expect(alert_of(viewers, double)).to_contain_text("acknowledged by olaf")
    alert_of(tab, double).get_by_role("button", name="Take back").click()
    expect(alert_of(tab, double)).not_to_contain_text("acknowledged by olaf")


def test_an_alert_is_silenced_with_a_reason_and_the_silence_is_ended(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    name, labels = rule(page)
    double = worker("hush", [reading(0, temperature_c=91)], labels=labels)
    firing(page, double)
    tab.goto(f"{page.address}/alerts")
    button = alert_of(tab, double).get_by_role("button", name="Silence")
    button.click()
    dialog = tab.get_by_role("dialog")
    tab.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()

    button.click()
    dialog.get_by_label(f"{name} on {double.id}", exact=True).check()
    dialog.get_by_label("8 hours").check()
    dialog.get_by_label("Reason").fill("the fan is on its way")
    dialog.get_by_role("button", name="Silence").click()

    expect(dialog).to_have_count(0)
    expect(alert_of(tab, double)).to_contain_text("silenced")
    tab.get_by_role("navigation", name="Alerts").get_by_role("link", name="Silences").click()
    silence = tab.locator(".entries li").filter(has_text=double.id)
    expect(silence).to_contain_text("the fan is on its way")
    expect(silence).to_contain_text(re.compile("7\u00a0h left|8\u00a0h left"))
    silence.get_by_role("button").click()
    silence.get_by_role("button", name="End it now").click()
    expect(silence).to_have_count(0)


@pytest.fixture
def refused(browser: Browser, page: RunningPage) -> Iterator[Page]:
    """An operator's page in which something is asked for in vain."""
    with logged_in(browser, page, "olaf", refused=(404, 422)) as opened:
        yield opened


def test_a_silence_by_hand_until_a_moment_is_told_what_is_wrong(refused: Page, page: RunningPage) -> None:
    tab = refused
    tab.goto(f"{page.address}/alerts/silences")
    tab.get_by_role("button", name="Silence something").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Rule").fill("no-such-rule")
    dialog.get_by_label("Labels").fill("rack3")
    dialog.get_by_role("button", name="Silence").click()
    expect(dialog.get_by_role("alert")).to_contain_text("rack=3")
    dialog.get_by_label("Labels").fill("rack=3")
    dialog.get_by_role("button", name="Silence").click()
    expect(dialog.get_by_role("alert")).to_contain_text("no rule 'no-such-rule'")
    dialog.get_by_label("Rule").fill("hot")
    dialog.get_by_label("Until when").fill("2020-01-01T00:00")
    dialog.get_by_role("button", name="Silence").click()
    expect(dialog.get_by_role("alert")).to_contain_text("give a time from now on")


def test_an_action_shows_the_very_command_and_runs_it_after_the_confirmation(
    refused: Page, page: RunningPage, worker: Workers
) -> None:
    tab = refused
    _, labels = rule(page, commands={"End the processes": "kill {pids}"})
    double = worker("act", [reading(0, temperature_c=91)], labels=labels)
    firing(page, double)
    tab.goto(f"{page.address}/alerts")
    alert_of(tab, double).get_by_role("button", name="Act on").click()
    dialog = tab.get_by_role("dialog")
    expect(dialog.locator(".output")).to_have_text("kill 4242")
    expect(dialog).to_contain_text(f"This runs on {double.id}:")
    expect(dialog.get_by_role("button", name="Leave it")).to_be_focused()

    process = Process(pid=99, user="chen", name="python", memory_bytes=GIB)
    double.sample([reading(0, temperature_c=91, processes=[process])])
    changed = eventually(lambda: "kill 99" in ask(page, "vera", "GET", action_path(page, double)).text)
    assert changed
    dialog.get_by_role("button", name=f"Run on {double.id}").click()
    expect(dialog.get_by_role("alert")).to_contain_text("has changed")
    assert double.received.empty()
    expect(dialog.locator(".output")).to_have_text("kill 99")

    dialog.get_by_role("button", name=f"Run on {double.id}").click()
    command = double.next_command()
    assert (command.command, command.by) == ("kill 99", "olaf")
    double.write(command, "done\n")
    double.end(command)
    expect(tab.locator(".dock-output")).to_contain_text("done")


def action_path(page: RunningPage, double: WorkerDouble) -> str:
    """Return where the actions of a worker's alert are."""
    return f"alerts/{firing(page, double)[0]['id']}/actions"


def test_a_workers_page_shows_alerts_on_the_card_they_are_about(tab: Page, page: RunningPage, worker: Workers) -> None:
    _, labels = rule(page)
    double = worker("cards", [reading(0, temperature_c=91), reading(1)], labels=labels)
    firing(page, double)
    tab.goto(f"{page.address}/workers/{double.id}")
    first, second = (tab.get_by_role("article", name=f"GPU {index}") for index in (0, 1))
    expect(first.get_by_role("list", name="Firing alerts")).to_contain_text("page")
    expect(second.locator(".alert")).to_have_count(0)

    double.sample([reading(0, temperature_c=40), reading(1, temperature_c=93)])

    expect(second.locator(".alert")).to_contain_text("93\u00a0°C")
    expect(first.locator(".alert")).to_have_count(0)
    first.get_by_text("past alert").click()
    expect(first.locator(".past-alerts .alert")).to_contain_text("lasted")


def test_a_link_to_an_alert_shows_it_while_it_fires_and_afterwards(
    refused: Page, page: RunningPage, worker: Workers
) -> None:
    tab = refused
    _, labels = rule(page)
    double = worker("linked", [reading(0, temperature_c=91)], labels=labels)
    [alert] = firing(page, double)
    tab.goto(f"{page.address}/alerts/{alert['id']}")
    expect(tab.locator(".readings")).to_contain_text("nobody has acknowledged it")
    tab.get_by_label("Note for others").fill("Chen is on it")
    tab.get_by_role("button", name="Acknowledge with this note").click()
    expect(tab.locator(".readings")).to_contain_text("Chen is on it")

    double.sample([reading(0, temperature_c=40)])
    expect(tab.locator(".section-head")).to_contain_text("ended")
    tab.goto(f"{page.address}/alerts/a-never")
    expect(tab.get_by_role("heading", name="No alert a-never")).to_be_visible()


def test_many_of_one_rule_are_a_group_that_unfolds_and_is_acknowledged_as_one(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    name, labels = rule(page, "crowd")
    double = worker("crowd", [reading(index, temperature_c=90) for index in range(128)], labels=labels)
    eventually(lambda: ask(page, "vera", "GET", f"alerts?rule={name}&limit=1").json()["total"] == 128)
    tab.goto(f"{page.address}/alerts")
    group = tab.locator(".alert-group").filter(has_text=name)
    expect(group).to_contain_text("128 fire on 1\u00a0worker · 128 not seen to")
    expect(group.locator(".alert")).to_have_count(0)

    group.get_by_role("button", name=name).first.click()
    expect(group.locator(".alert").first).to_be_visible()
    group.get_by_role("button", name="Show more").click()
    expect(group.locator(".alert")).to_have_count(125)
    group.get_by_role("button", name="Show more").click()
    expect(group.locator(".alert")).to_have_count(128)

    double.sample([reading(index, temperature_c=92) for index in range(128)])
    group.get_by_role("button", name="Acknowledge all").click()
    group.get_by_role("button", name="Acknowledge all").click()
    expect(group).to_contain_text("all seen to")
    expect(group.locator(".alert.is-seen")).to_have_count(128)
    double.sample([reading(index, temperature_c=40) for index in range(128)])
    expect(group).to_have_count(0)


def test_hostile_names_and_texts_stay_text(browser: Browser, page: RunningPage, worker: Workers) -> None:
    _, labels = rule(page, commands={HOSTILE[:90].replace("\u202e", ""): "echo {users}"})
    double = worker("evil", [idle(0)], labels={**labels, "note": HOSTILE[:250]})
    process = Process(pid=77, user=HOSTILE[:60], name="x", memory_bytes=GIB)
    double.sample([reading(0, temperature_c=91, name=HOSTILE[:250], processes=[process])])
    [alert] = firing(page, double)
    ask(page, "olaf", "POST", f"alerts/{alert['id']}/acknowledge", {"note": HOSTILE[:400]})
    for viewport in (DESKTOP, PHONE):
        with logged_in(browser, page, "olaf", viewport) as tab:
            for path in ("/alerts", f"/alerts/{alert['id']}", f"/workers/{double.id}"):
                tab.goto(page.address + path)
                expect(tab.get_by_text("acknowledged by olaf").first).to_be_visible()
                assert fits(tab), path
                assert tab.locator("img").count() == 0
            tab.goto(f"{page.address}/alerts")
            alert_of(tab, double).get_by_role("button", name="Act on").click()
            expect(tab.get_by_role("dialog").locator(".output")).to_contain_text("<img")
            assert fits(tab)


def test_where_nothing_fires_the_page_says_what_to_do_next(browser: Browser, own_page: RunningPage) -> None:
    with logged_in(browser, own_page, "alice") as tab:
        tab.goto(f"{own_page.address}/alerts")
        expect(tab.get_by_text("No alert fires.")).to_be_visible()
        expect(tab).to_have_title("Alerts · gpumon")
        texts: dict[str, Any] = {
            "past": "No alert has ended yet",
            "silences": "Nothing is silenced",
            "channels": "Nobody is told yet",
        }
        for path, text in texts.items():
            tab.goto(f"{own_page.address}/alerts/{path}")
            expect(tab.get_by_text(text)).to_be_visible()
