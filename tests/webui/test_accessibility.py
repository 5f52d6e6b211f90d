"""No page has an accessibility violation that axe-core finds, light or dark, at a desk or on a phone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from gpumon.messages import GpuReading
from tests.support import eventually
from tests.webui.alerting import firing, rule
from tests.webui.browsing import DESKTOP, PHONE, logged_in
from tests.webui.conftest import LiveClient
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, lost, mig, reading

pytestmark = pytest.mark.browser

LOOKS: list[tuple[Literal["light", "dark"], ViewportSize]] = [("light", DESKTOP), ("dark", DESKTOP), ("dark", PHONE)]


@pytest.fixture(scope="module")
def shown(page: RunningPage) -> Iterator[dict[str, str]]:
    """A fleet with every state, and a command that went two ways; gives the command's address."""
    asleep = GpuReading(uuid="GPU-00000000-0000-4000-8000-000000000000", index=0, state="asleep")
    cards = {
        "busy": [reading(0, temperature_c=90), idle(1), mig(2)],
        "lost": [reading(0), lost(1)],
        "asleep": [asleep],
        "gone": [idle(0)],
    }
    doubles = {
        name: WorkerDouble(page.mqtt_port, f"axe-{name}", labels={"hall": name[0]}, source="simulated")
        for name in cards
    }
    for name, double in doubles.items():
        double.start(cards[name])
    doubles["busy"].sample(cards["busy"], time=time.time() + 4.0)  # so that some usage is known at once
    _, labels = rule(page)
    hot = WorkerDouble(page.mqtt_port, "axe-hot", labels=labels).start([reading(0, temperature_c=91)])
    firing(page, hot)
    client = LiveClient(page, page.session("alice"))
    eventually(lambda: client.knows(*doubles.values()))
    doubles["gone"].stop()
    targets = [doubles["busy"], doubles["lost"]]
    answer = client.ask("run", {"command": "uname -r", "workers": [double.id for double in targets]})
    for code, double in enumerate(targets):
        command = double.next_command()
        double.write(command, f"6.8.{code}\n")
        double.end(command, code)
    client.client.disconnect()
    yield {"command": f"/commands/{answer['id']}"}
    hot.stop()
    for name, double in doubles.items():
        if name != "gone":
            double.stop()


@contextmanager
def looked_at(
    browser: Browser,
    page: RunningPage,
    look: tuple[Literal["light", "dark"], ViewportSize],
) -> Iterator[Page]:
    """Give an admin's page in these looks."""
    scheme, viewport = look
    with logged_in(browser, page, "alice", viewport) as tab:
        tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        yield tab


def violations(tab: Page) -> list[str]:
    """Return what axe-core finds on this page, a line each."""
    found: Any = Axe().run(tab).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


def open_fleet(tab: Page, page: RunningPage, query: str = "") -> None:
    """Open the fleet and wait for its rows."""
    tab.goto(f"{page.address}/?q=worker:axe-{query}")
    expect(tab.locator(".table-body .row").first).to_be_visible()


def fleet(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The table of workers."""
    open_fleet(tab, page)


def grouped_cards(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The table of cards, in groups, with the columns to choose open."""
    open_fleet(tab, page, "&group=hall&list=cards")


def keys(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The keys and looks."""
    open_fleet(tab, page)
    tab.keyboard.press("?")
    expect(tab.get_by_role("dialog")).to_be_visible()


def worker_page(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """A worker with all readings open."""
    tab.goto(f"{page.address}/workers/axe-busy")
    tab.get_by_text("All readings").first.click()
    expect(tab.locator(".plot canvas").first).to_be_attached()


def lost_worker(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """A worker with a lost card."""
    tab.goto(f"{page.address}/workers/axe-lost")
    expect(tab.locator(".gpu-lost")).to_be_visible()


def commands(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The list of commands."""
    tab.goto(f"{page.address}/commands")
    expect(tab.locator(".command-list li").first).to_be_visible()


def command(tab: Page, page: RunningPage, shown: dict[str, str]) -> None:
    """A command with its outputs."""
    tab.goto(page.address + shown["command"])
    expect(tab.locator(".output").first).to_be_visible()


def gathered(tab: Page, page: RunningPage, shown: dict[str, str]) -> None:
    """A command with its answers gathered."""
    command(tab, page, shown)
    tab.get_by_role("button", name="Gathered").click()
    expect(tab.locator(".gathered .diff-added").first).to_be_visible()


def usage(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """Who has used what."""
    tab.goto(f"{page.address}/usage?range=today")
    expect(tab.locator(".usage-table tbody tr").first).to_be_visible()
    tab.locator(".usage-plot").focus()
    tab.keyboard.press("End")


def account(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """One's account."""
    tab.goto(f"{page.address}/account")
    expect(tab.get_by_role("heading", name="API tokens")).to_be_visible()


def users(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """People's accounts."""
    tab.goto(f"{page.address}/users")
    expect(tab.get_by_text("olaf").first).to_be_visible()


def audit(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The audit."""
    tab.goto(f"{page.address}/audit")
    expect(tab.get_by_text("uname -r").first).to_be_visible()


def alerts(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """What fires, with an alert."""
    tab.goto(f"{page.address}/alerts")
    expect(tab.locator(".alert").first).to_be_visible()


def silencing(tab: Page, page: RunningPage, shown: dict[str, str]) -> None:
    """The dialog that silences an alert."""
    alerts(tab, page, shown)
    tab.get_by_role("button", name="Silence too-hot").first.click()
    expect(tab.get_by_role("dialog")).to_be_visible()


def one_alert(tab: Page, page: RunningPage, shown: dict[str, str]) -> None:
    """One alert by its link."""
    alerts(tab, page, shown)
    tab.locator(".alert-text").first.click()
    expect(tab.locator(".readings")).to_be_visible()


def rules(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The rules, one of them open in its form with a mistake."""
    tab.goto(f"{page.address}/alerts/rules")
    tab.get_by_role("button", name="Change rule hot").click()
    tab.get_by_label("Holds for").fill("a while")
    expect(tab.locator(".has-problem")).to_be_visible()


def silences(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The silences."""
    tab.goto(f"{page.address}/alerts/silences")
    section = tab.get_by_role("region", name="Silences")
    expect(section.locator(".nothing, .entries > li").first).to_be_visible()  # other tests may have silenced something


def log_in(tab: Page, page: RunningPage, _shown: dict[str, str]) -> None:
    """The log-in form."""
    tab.context.clear_cookies()
    tab.goto(f"{page.address}/login")
    expect(tab.get_by_label("Password")).to_be_visible()


VIEWS = [
    fleet,
    grouped_cards,
    keys,
    worker_page,
    lost_worker,
    commands,
    command,
    gathered,
    usage,
    account,
    users,
    audit,
    alerts,
    silencing,
    one_alert,
    rules,
    silences,
    log_in,
]


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "phone"])
def test_axe_finds_nothing_on_any_page(
    browser: Browser,
    page: RunningPage,
    shown: dict[str, str],
    look: tuple[Literal["light", "dark"], ViewportSize],
) -> None:
    found: dict[str, list[str]] = {}
    with looked_at(browser, page, look) as tab:
        for view in VIEWS:
            show: Callable[[Page, RunningPage, dict[str, str]], None] = view
            show(tab, page, shown)
            found[view.__name__] = violations(tab)

    assert {name: lines for name, lines in found.items() if lines} == {}
