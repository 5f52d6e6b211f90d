"""From `gpumon up` to the first metric that somebody sees in a real page."""

from __future__ import annotations

import re
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Error

from bench.children import Children, wait_until
from bench.deployment import free_port, listens
from bench.gpus import standin_environment
from bench.report import Figure, Result
from tests.browser import chromium

RUNS = 5
WORKER = "gpu-machine"
TIMEOUT_S = 60.0
TEMPERATURE = re.compile(r"\d+\s*°C")


def start() -> Result:
    """Start everything on new data, then again on the same data, several times."""
    first: list[float] = []
    again: list[float] = []
    with chromium() as browser:
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
                environment = standin_environment(Path(name), children)
                first.append(_seconds_to_first_metric(browser, Path(name), children, environment))
                again.append(_seconds_to_first_metric(browser, Path(name), children, environment))
    return Result(
        name="start",
        title="from `gpumon up` to the first metric in the page",
        about=(
            "`gpumon up` with broker, master, page and an agent over the stand-in for NVML (8 GPUs), as installed. "
            "A Chromium that is already running opens the page as soon as its port is open, logs in and waits "
            f"for the worker's row with a temperature. {RUNS} runs, each on a new data folder (accounts, database and "
            "worker are made) and then once more on the same."
        ),
        command=".venv/bin/python -m bench start",
        figures=[
            Figure("new data, median", statistics.median(first), "s", target=4),
            Figure("new data, slowest", max(first), "s", target=4),
            Figure("same data again, median", statistics.median(again), "s", target=4),
            Figure("same data again, slowest", max(again), "s", target=4),
        ],
    )


def _seconds_to_first_metric(browser: Browser, folder: Path, children: Children, environment: dict[str, str]) -> float:
    port, mqtt_port = free_port(), free_port()
    data = folder / "data"
    program = str(Path(sys.executable).with_name("gpumon"))
    command = [program, "up", "--data", str(data), "--port", str(port), "--mqtt-port", str(mqtt_port)]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(1000 * TIMEOUT_S)
    started = time.monotonic()
    process = children.start("gpumon", command, {**environment, "GPUMON_AGENT_WORKER_ID": WORKER})
    try:
        # A browser that fails to open a page draws an error page each time, which costs what is measured its processor.
        wait_until(lambda: listens(port), "the page's port is open", TIMEOUT_S, children)
        wait_until(lambda: _opens(page.goto, f"http://127.0.0.1:{port}/"), "the page opens", TIMEOUT_S, children)
        password = wait_until(lambda: _read(data / "first-login"), "the password is there", TIMEOUT_S, children)
        page.fill("input[name=name]", "admin")
        page.fill("input[name=password]", password)
        page.press("input[name=password]", "Enter")
        row = page.get_by_role("row").filter(has_text=WORKER).filter(has_text=TEMPERATURE)
        row.first.wait_for()
        return time.monotonic() - started
    finally:
        context.close()
        process.send_signal(signal.SIGTERM)
        children.end(process)


def _opens(goto: object, url: str) -> bool:
    try:
        return goto(url, wait_until="commit") is not None  # type: ignore[operator]
    except Error:
        return False


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
