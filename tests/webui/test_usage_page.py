"""The page of usage in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from gpumon.messages import GpuReading, Process
from tests.support import eventually
from tests.webui.browsing import PHONE, fits, logged_in
from tests.webui.conftest import NUMBERS
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"


def held(index: int, user: str, utilization: int) -> GpuReading:
    """A card that a user holds."""
    process = Process(pid=index + 1, user=user, name="python", memory_bytes=40 * GIB)
    return idle(index, utilization_percent=utilization, processes=[process], power_w=300.0, energy_j=None)


@pytest.fixture(scope="module")
def team(page: RunningPage) -> Iterator[str]:
    """A label under which two workers are used; gives its value."""
    value = f"crew-{next(NUMBERS)}"
    cards = {
        "a": [held(0, "chen", 90), held(1, "chen", 90), held(2, HOSTILE, 60), idle(3, energy_j=None)],
        "b": [held(0, "lena", 0), idle(1, energy_j=None)],
    }
    doubles = []
    for name, gpus in cards.items():
        double = WorkerDouble(page.mqtt_port, f"{value}-{name}", labels={"crew": value}).start(gpus)
        double.sample(gpus, time=time.time() + 4.0)
        doubles.append(double)
    session = page.session("vera")
    query = {"label": f"crew={value}", "by": "worker"}
    eventually(lambda: len(session.get(f"{page.address}/api/v1/usage", params=query, timeout=10).json()["groups"]) == 2)
    yield value
    for double in doubles:
        double.stop()


@pytest.fixture
def usage(tab: Page, page: RunningPage, team: str) -> Page:
    """The page of what was used under that label."""
    tab.goto(f"{page.address}/usage?label=crew%3D{team}&range=today")
    expect(tab.locator(".usage-table tbody tr")).to_have_count(4)
    return tab


def names(tab: Page) -> list[str]:
    """Return the groups of the table, in its order."""
    return tab.locator(".usage-table tbody th").all_inner_texts()


def test_users_are_listed_with_most_held_first_and_nobody_last(usage: Page) -> None:
    expect(usage).to_have_title(re.compile("Usage"))
    assert names(usage)[0] == "chen"
    assert names(usage)[-1] == "nobody (free)"
    expect(usage.locator(".usage-table")).to_contain_text(HOSTILE)


def test_what_is_held_idle_is_said_in_words(usage: Page) -> None:
    lena = usage.locator(".usage-table tbody tr").filter(has_text="lena")
    expect(lena).to_contain_text("100 % idle".replace(" ", "\u00a0", 1))
    expect(lena.locator(".usage-idle svg")).to_be_visible()


def test_the_table_is_sorted_by_a_column(usage: Page) -> None:
    usage.get_by_role("button", name="User").click()
    assert names(usage)[1:] == ["chen", "lena", "nobody (free)"]
    usage.get_by_role("button", name="Held idle").last.click()
    expect(usage.locator("th[aria-sort=descending]")).to_have_text(re.compile("Held idle"))
    assert names(usage)[0] == "lena"


def test_a_group_leads_to_what_is_in_it_and_back(usage: Page, team: str) -> None:
    usage.get_by_role("button", name="chen", exact=True).click()
    expect(usage.locator(".usage-table tbody th")).to_have_text([f"{team}-a"])
    expect(usage).to_have_url(re.compile("user=chen"))

    usage.go_back()
    expect(usage.locator(".usage-table tbody tr")).to_have_count(4)
    usage.get_by_label("Group by").select_option("worker")
    expect(usage.locator(".usage-table tbody th")).to_have_text([f"{team}-a", f"{team}-b"])
    usage.reload()
    expect(usage.locator(".usage-table tbody th")).to_have_text([f"{team}-a", f"{team}-b"])
    usage.get_by_role("button", name=re.compile("show all again")).click()
    expect(usage).not_to_have_url(re.compile("label"))


def test_bars_are_read_by_pointer_and_keys(usage: Page) -> None:
    plot = usage.get_by_role("group", name=re.compile("^GPU-hours by hour"))
    expect(plot.locator("rect.series-0")).not_to_have_count(0)
    plot.focus()
    usage.keyboard.press("End")
    expect(usage.locator(".usage-told")).to_contain_text("chen")

    usage.get_by_role("group", name="What the plot shows").get_by_role("button", name="Energy").click()
    expect(usage.locator(".usage-told")).to_contain_text("kWh")


def test_days_are_chosen_and_wrong_ones_are_said(usage: Page) -> None:
    usage.get_by_role("button", name="Dates").click()
    usage.get_by_label("From").fill("2026-01-10")
    usage.get_by_label("to", exact=True).fill("2026-01-05")
    expect(usage.get_by_role("alert")).to_have_text("The first day is after the last.")
    usage.get_by_label("From").fill("2026-01-02")
    expect(usage.get_by_role("heading", name="Nothing is known of this time")).to_be_visible()
    expect(usage).to_have_url(re.compile("from=2026-01-02"))


def test_the_table_can_be_kept(usage: Page) -> None:
    with usage.expect_download() as download:
        usage.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.startswith("gpumon-usage-by-user-")


def test_the_header_leads_there(tab: Page, page: RunningPage, team: str) -> None:
    tab.goto(page.address)
    tab.get_by_role("link", name="Usage", exact=True).click()
    expect(tab.get_by_role("heading", name="Usage", level=1)).to_be_visible()
    expect(tab.locator(".usage-table")).to_contain_text("chen")
    tab.keyboard.press("g")
    tab.keyboard.press("f")
    expect(tab).to_have_title(re.compile("^gpumon|gpumon$"))
    assert team


def test_it_fits_a_phone(browser: Browser, page: RunningPage, team: str, usage: Page) -> None:
    with logged_in(browser, page, "vera", PHONE) as tab:
        tab.goto(f"{page.address}/usage?label=crew%3D{team}&range=today")
        expect(tab.locator(".usage-table tbody tr")).to_have_count(4)
        assert fits(tab)
