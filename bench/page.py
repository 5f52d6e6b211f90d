"""A real browser that looks at a large fleet: how soon, how smoothly, and with how much memory."""

from __future__ import annotations

import re
import time
from typing import Any

import psutil
from playwright.sync_api import Browser, CDPSession, Page

from bench.children import Children
from bench.delivery import unwatched
from bench.deployment import USER, Deployment
from bench.report import Figure, Result
from bench.viewer import browser_cookies
from tests.browser import chromium

WORKERS = 1000
INTERVAL_S = 5.0
OPENED = 5
WATCHED_S = 600.0
SETTLED_AFTER_S = 60.0
SCROLLED_S = 6.0
TEMPERATURE = re.compile(r"\d+\s*°C")

# Scrolls on by a little each frame and back at the end, and returns the frames that were drawn in a second.
SCROLL = """async (seconds) => {
    let frames = 0, step = 40;
    const begin = performance.now();
    while (performance.now() - begin < seconds * 1000) {
        await new Promise(requestAnimationFrame);
        frames += 1;
        const end = document.documentElement.scrollHeight - innerHeight;
        if (scrollY >= end - 1) step = -40;
        if (scrollY <= 0) step = 40;
        window.scrollBy(0, step);
    }
    window.scrollTo(0, 0);
    return frames / ((performance.now() - begin) / 1000);
}"""
# Moves the pointer over the map, a cell further each frame.
HOVER = """async (seconds) => {
    const map = document.querySelector("canvas.heat");
    const box = map.getBoundingClientRect();
    let frames = 0;
    const begin = performance.now();
    while (performance.now() - begin < seconds * 1000) {
        await new Promise(requestAnimationFrame);
        frames += 1;
        const clientX = box.left + (frames * 7) % box.width;
        const clientY = box.top + (Math.floor((frames * 7) / box.width) * 7) % box.height;
        map.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
    }
    return frames / ((performance.now() - begin) / 1000);
}"""


def page() -> Result:
    """Open the page on 1,000 workers x 8 GPUs, scroll, hover, and leave it open for ten minutes."""
    with unwatched(WORKERS, INTERVAL_S) as (children, deployment, _load):
        time.sleep(INTERVAL_S)
        with chromium() as browser:
            figures = _figures(browser, deployment, children)
    return Result(
        name="page",
        title="1,000 workers x 8 GPUs at 5 s in a real browser",
        about=(
            "A headless Chromium, which draws without a graphics card, on the cores that serve the page and make the "
            f"load. The first useful picture is the map of all cards and a row with a temperature, slowest of {OPENED} "
            "openings by somebody who is logged in, each in a new context, so nothing is cached. Frames are those that "
            f"the browser draws in {SCROLLED_S:.0f} s while the page scrolls 40 pixels a frame, and while the pointer "
            "moves over the map. Memory is the PSS of the page's own process, and the objects that are left after a "
            f"garbage collection, {WATCHED_S / 60:.0f} minutes after the page was opened."
        ),
        command=".venv/bin/python -m bench page",
        figures=figures,
    )


def _figures(browser: Browser, deployment: Deployment, children: Children) -> list[Figure]:
    cookies = browser_cookies(deployment.page, USER, deployment.password)
    opened = []
    for _ in range(OPENED):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies(cookies)
        tab = context.new_page()
        opened.append(_open(tab, deployment.page))
        if len(opened) < OPENED:
            context.close()
    session = tab.context.new_cdp_session(tab)
    time.sleep(SETTLED_AFTER_S)
    begin = _heap_bytes(session)
    scrolled = tab.evaluate(SCROLL, SCROLLED_S)
    hovered = tab.evaluate(HOVER, SCROLLED_S)
    deadline = time.monotonic() + WATCHED_S - SETTLED_AFTER_S
    while time.monotonic() < deadline:
        tab.wait_for_timeout(10_000)
        children.check()
    end = _heap_bytes(session)
    return [
        Figure("first useful picture, slowest", max(opened), "s", target=2),
        Figure("first useful picture, fastest", min(opened), "s"),
        Figure("frames a second, scrolling", scrolled, ""),
        Figure("frames a second, over the map", hovered, ""),
        Figure("milliseconds a frame, scrolling", 1000 / scrolled, "ms", target=1000 / 30),
        Figure("milliseconds a frame, over the map", 1000 / hovered, "ms", target=1000 / 30),
        Figure("memory of the page's process", _renderer_bytes(tab) / 1e6, "MB", target=250),
        Figure("objects after a minute", begin / 1e6, "MB"),
        Figure("objects after ten minutes", end / 1e6, "MB"),
    ]


def _open(tab: Page, address: str) -> float:
    """Return the seconds from asking for the page to its map and a row with a temperature."""
    begin = time.monotonic()
    tab.goto(address, wait_until="commit")
    tab.locator(".table-body .cell-temperature", has_text=TEMPERATURE).first.wait_for()
    tab.wait_for_function("() => document.querySelector('canvas.heat')?.height > 10")
    return time.monotonic() - begin


def _heap_bytes(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"])


def _renderer_bytes(tab: Page) -> float:
    """Return the PSS of the largest renderer below this process, which is the tab's."""
    tab.bring_to_front()
    sizes = [
        process.memory_full_info().pss
        for process in psutil.Process().children(recursive=True)
        if "--type=renderer" in process.cmdline()
    ]
    return float(max(sizes, default=0))
