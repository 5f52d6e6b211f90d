"""A worker's page: its readings over a chosen range, its processes sorted, and what folds away."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from gpumon.messages import Process
from tests.support import eventually
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, lost, reading

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]


def drawn(tab: Page, label: str) -> int:
    """Return how many pixels of a plot are not empty."""
    script = """(box) => {
        const canvas = box.querySelector("canvas");
        if (canvas === null || canvas.width === 0) return 0;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 3; at < data.length; at += 4) if (data[at] > 0) count += 1;
        return count;
    }"""
    return int(tab.get_by_role("article", name="GPU 0").get_by_role("img", name=label).evaluate(script))


def test_readings_are_plotted_from_what_was_stored_on_to_what_arrives(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    double = worker("plot", [reading(0, utilization_percent=20)])
    for load in (30, 40, 90):
        double.sample([reading(0, utilization_percent=load)])
    tab.goto(f"{page.address}/workers/{double.id}")
    eventually(lambda: drawn(tab, "Utilization over time") > 0)
    before = drawn(tab, "Utilization over time")

    for load in (10, 100, 0):
        double.sample([reading(0, utilization_percent=load)])

    eventually(lambda: drawn(tab, "Utilization over time") > before)


def test_the_range_is_chosen_for_all_plots_and_the_pointer_tells_a_moment(
    tab: Page, page: RunningPage, worker: Workers
) -> None:
    double = worker("range", [reading(0), reading(1)])
    tab.goto(f"{page.address}/workers/{double.id}")
    with tab.expect_response(re.compile("/history.*from=")) as fetched:
        tab.get_by_role("button", name="5 min", exact=True).click()
    assert fetched.value.ok
    expect(tab.get_by_role("button", name="5 min", exact=True)).to_have_attribute("aria-pressed", "true")

    plot = tab.get_by_role("article", name="GPU 1").get_by_role("img", name="Power over time")
    eventually(lambda: plot.locator("canvas").count() == 1)
    width = plot.evaluate("(box) => box.clientWidth")
    plot.hover(position={"x": width - 1, "y": 20})

    expect(plot.locator("xpath=..").locator(".plot-told")).to_contain_text("612\u00a0W")


def test_processes_are_sorted_by_a_column(tab: Page, page: RunningPage, worker: Workers) -> None:
    def process(pid: int, user: str | None, gib: int) -> Process:
        return Process(pid=pid, user=user, name="python", memory_bytes=gib * GIB)

    cards = [reading(0, processes=[process(30, "chen", 5), process(10, "amira", 9), process(20, None, 7)])]
    double = worker("sort", cards)
    tab.goto(f"{page.address}/workers/{double.id}")
    pids = tab.locator(".processes tbody td:nth-child(2)")
    expect(pids).to_have_text(["10", "20", "30"])

    tab.locator(".processes").get_by_role("button", name="User").click()
    expect(pids).to_have_text(["10", "30", "20"])
    tab.locator(".processes").get_by_role("button", name="Memory").click()
    tab.locator(".processes").get_by_role("button", name="Memory").click()
    expect(pids).to_have_text(["30", "20", "10"])


def test_why_clocks_are_held_back_is_said_in_words(tab: Page, page: RunningPage, worker: Workers) -> None:
    held = idle(0, throttle_reasons=["hw_thermal_slowdown", "gpu_idle"])
    double = worker("held", [held, idle(1, throttle_reasons=["gpu_idle"]), lost(2)])
    tab.goto(f"{page.address}/workers/{double.id}")

    expect(tab.get_by_role("article", name="GPU 0").locator(".gpu-held")).to_contain_text(
        "slowed by the hardware because of its temperature"
    )
    expect(tab.get_by_role("article", name="GPU 1").locator(".gpu-held")).to_have_count(0)
