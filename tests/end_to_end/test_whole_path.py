"""The whole path in a real browser: NVML's interface to the page, and commands back to the workers."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import chromium
from tests.end_to_end.running import CLEAN_ENVIRONMENT, Running, an_agent, gpumon_up
from tests.standin import STATE_VARIABLE, Standin, StandinGpu, StandinProcess, build
from tests.support import eventually, program_or_skip, stopping

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests of this file."""
    with chromium() as started:
        yield started


def machine(gpus: int = 3) -> Standin:
    """Return a machine whose first card holds a process of user memory, and whose second knows no fan."""
    sleeping = StandinProcess(pid=1, memory_mib=20480)
    cards = [StandinGpu(name="NVIDIA H200", values={"temperature_c": 61}, processes=[sleeping])]
    cards += [StandinGpu(values={"temperature_c": 42}).without("nvmlDeviceGetFanSpeed") for _ in range(gpus - 1)]
    return Standin(gpus=cards)


@contextmanager
def nvml_machine(folder: Path) -> Iterator[tuple[Running, Path]]:
    """Run `gpumon up` on a machine where NVML finds GPUs; give it and the file that describes them."""
    state = machine().write(folder / "gpus.txt")
    variables = {"LD_LIBRARY_PATH": str(build(folder)), STATE_VARIABLE: str(state)}
    with gpumon_up(folder, "--worker-id", "gpu-a", "--interval", "1", more=variables) as running:
        yield running, state


def log_in(browser: Browser, running: Running) -> Page:
    """Open the page as its first admin does."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(running.page)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(running.admin_password)
    page.get_by_role("button", name="Log in").click()
    return page


def row_of(page: Page, worker_id: str) -> Locator:
    """Return a worker's row of the fleet's table."""
    name = page.get_by_role("link", name=worker_id, exact=True)
    return page.locator(".table-body .row").filter(has=name)


def test_from_nvml_to_the_page_and_commands_back_on_two_workers(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        running, state = stack.enter_context(nvml_machine(tmp_path))
        page = log_in(browser, running)

        # A worker appears, with what NVML's interface says.
        expect(row_of(page, "gpu-a")).to_contain_text("online", timeout=15_000)
        expect(row_of(page, "gpu-a")).to_contain_text("61 °C")
        other = stack.enter_context(an_agent(running, "gpu-b", "--interval", "1"))
        expect(row_of(page, "gpu-b")).to_contain_text("online", timeout=15_000)

        # A command on both, from the panel; output streams in before it has ended.
        marker = tmp_path / "go-on"
        page.get_by_label("Select gpu-a").check()
        page.get_by_label("Select gpu-b").check()
        page.get_by_label("Command for all selected workers").fill(
            f"echo begun; while [ ! -e {marker} ]; do sleep 0.05; done; echo ended; exit 4"
        )
        page.get_by_role("button", name="Run on 2").click()
        output = page.locator("pre.output")
        expect(output.filter(has_text="begun")).to_have_count(2)
        expect(output.filter(has_text="ended")).to_have_count(0)
        marker.touch()
        expect(output.filter(has_text="ended")).to_have_count(2)
        expect(page.locator(".exit", has_text="exit 4")).to_have_count(2)

        # A worker whose plug is pulled is offline at once.
        other.send_signal(signal.SIGKILL)
        expect(row_of(page, "gpu-b")).to_contain_text("offline", timeout=15_000)

        # A card that falls off the bus is shown as lost while the others go on.
        lost = machine()
        lost.gpus[1].lost = True
        lost.write(state)
        row_of(page, "gpu-a").get_by_role("link", name="gpu-a", exact=True).click()
        expect(page.get_by_text("lost", exact=True).first).to_be_visible(timeout=15_000)


def test_the_same_worker_answers_mosquittos_clients(tmp_path: Path) -> None:
    program_or_skip("mosquitto_pub", "mosquitto-clients")
    with nvml_machine(tmp_path) as (running, _):
        log_in_flags = ["-h", "127.0.0.1", "-p", str(running.mqtt_port), "-u", "admin", "-P", running.admin_password]
        sample = subprocess.run(
            ["mosquitto_sub", *log_in_flags, "-t", "gpumon/gpu-a/metrics", "-C", "1", "-W", "20"],
            env=CLEAN_ENVIRONMENT,
            capture_output=True,
            check=True,
        )
        metrics = json.loads(sample.stdout)
        assert metrics["source"] == "nvml"
        assert [gpu["temperature_c"] for gpu in metrics["gpus"]] == [61, 42, 42]
        assert metrics["gpus"][1]["fan_percent"] is None
        assert metrics["gpus"][0]["processes"][0]["pid"] == 1

        listen = ["mosquitto_sub", *log_in_flags, "-t", "gpumon/gpu-a/cmd/result", "-C", "1", "-W", "20"]
        send = ["mosquitto_pub", *log_in_flags, "-q", "1", "-t", "gpumon/gpu-a/cmd", "-m", "echo by mqtt"]
        listening = subprocess.Popen(listen, env=CLEAN_ENVIRONMENT, stdout=subprocess.PIPE)
        with stopping(listening):
            eventually(
                lambda: subprocess.run(send, check=True).returncode == 0 and listening.poll() is not None, 20, 0.3
            )
            assert listening.stdout is not None
            result = json.loads(listening.stdout.read())
        assert (result["state"], result["exit_code"], result["output"]) == ("finished", 0, "by mqtt\n")


def test_a_demo_is_marked_as_simulated_wherever_it_shows(browser: Browser, tmp_path: Path) -> None:
    with gpumon_up(tmp_path, "--demo", "4", "--interval", "1") as running:
        page = log_in(browser, running)
        rows = page.locator(".table-body .row")
        expect(rows).to_have_count(4, timeout=20_000)
        expect(rows.get_by_text("simulated", exact=True)).to_have_count(4)
        rows.get_by_role("link").first.click()
        expect(page.get_by_text("simulated", exact=True).first).to_be_visible()
        listed = running.gpumon("run", "--all", "-b", "--", "nvidia-smi -L")
        assert listed.returncode == 0, listed.stderr
        assert "GPU 0: NVIDIA" in listed.stdout


def test_without_a_gpu_the_page_says_how_to_join_a_worker(browser: Browser, tmp_path: Path) -> None:
    with gpumon_up(tmp_path, more={"LD_LIBRARY_PATH": "/nonexistent"}) as running:
        page = log_in(browser, running)
        page.get_by_role("button", name="Add worker").click()
        expect(page.get_by_text("gpumon agent --join -", exact=True)).to_be_visible()
        expect(page.get_by_text("It leads to this machine alone")).to_be_visible()
