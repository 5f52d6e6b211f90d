"""Accounts, users and the audit in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import requests
from playwright.sync_api import Browser, expect

from gpumon.datafolder import DataFolder
from gpumon.joining import parse_join_line
from master.accounts import open_accounts
from tests.browser import chromium
from tests.support import eventually
from tests.webui.browsing import DESKTOP, PHONE, fits, logged_in, row_of
from tests.webui.running import PASSWORDS, RunningPage
from tests.webui.worker_double import WorkerDouble, idle

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]
TOKEN = re.compile(r"gpt_[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests of this file."""
    with chromium() as started:
        yield started


def status_with(page: RunningPage, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{page.address}/api/v1/session", headers=headers, timeout=10).status_code


def test_a_token_is_made_shown_once_and_revoked(browser: Browser, page: RunningPage) -> None:
    with logged_in(browser, page, "vera") as tab:
        tab.goto(page.address)
        tab.get_by_role("link", name="vera").click()
        expect(tab.get_by_text("may look at everything")).to_be_visible()
        tab.get_by_label("What it is for").fill("nightly export")
        tab.get_by_role("button", name="Make a token").click()
        token = tab.get_by_text(TOKEN).inner_text()
        assert status_with(page, token) == 200
        tab.reload()
        expect(tab.get_by_text("nightly export")).to_be_visible()
        expect(tab.get_by_text(TOKEN)).to_have_count(0)
        tab.get_by_role("button", name="Revoke nightly export").click()
        assert status_with(page, token) == 200
        tab.get_by_role("button", name="Revoke for good").click()
        expect(tab.get_by_text("nightly export")).to_have_count(0)
        assert status_with(page, token) == 401


def test_an_admin_adds_somebody_limits_and_removes_them(browser: Browser, page: RunningPage) -> None:
    with logged_in(browser, page, "alice") as tab:
        tab.goto(f"{page.address}/users")
        add = tab.locator("section").filter(has_text="Add somebody")
        add.get_by_label("Name").fill("newcomer")
        add.get_by_label("Role").select_option("operator")
        add.get_by_label("Commands on").fill("rack=3")
        add.get_by_role("button", name="Add").click()
        expect(tab.get_by_text("This is newcomer's password.")).to_be_visible()
        password = tab.locator(".secret code").inner_text()
        with open_accounts(DataFolder(page.data)) as accounts:
            assert accounts.authenticate("newcomer", password)
        entry = tab.locator(".entries > li").filter(has_text="newcomer")
        expect(entry).to_contain_text("operator · commands on rack=3")
        entry.get_by_role("button", name="Change newcomer").click()
        entry.get_by_label("Role").select_option("viewer")
        entry.get_by_role("button", name="Save").click()
        expect(entry).to_contain_text("viewer · no commands")
        entry.get_by_role("button", name="Change newcomer").click()
        entry.get_by_role("button", name="Remove newcomer").click()
        entry.get_by_role("button", name="Remove for good").click()
        expect(entry).to_have_count(0)


def test_what_is_typed_about_somebody_stays_while_the_list_beside_it_changes(
    browser: Browser, own_page: RunningPage
) -> None:
    with logged_in(browser, own_page, "alice") as tab:
        tab.goto(f"{own_page.address}/users")
        add = tab.locator("section").filter(has_text="Add somebody")
        add.get_by_label("Role").select_option("operator")
        add.get_by_label("Commands on").fill("rack=3")
        entry = tab.locator(".entries > li").filter(has_text="vera")
        entry.get_by_role("button", name="Change vera").click()
        entry.get_by_role("button", name="New password for vera").click()
        entry.get_by_role("button", name="Make a new password").click()
        expect(tab.get_by_text("This is vera's password.")).to_be_visible()
        expect(add.get_by_label("Commands on")).to_have_value("rack=3")


def test_somebody_changes_their_password_and_other_browsers_are_logged_out_live(
    browser: Browser, own_page: RunningPage
) -> None:
    with logged_in(browser, own_page, "vera") as tab:
        elsewhere = browser.new_context()
        other = elsewhere.new_page()
        other.goto(own_page.address)
        other.get_by_label("Name").fill("vera")
        other.get_by_label("Password").fill(PASSWORDS["vera"])
        other.get_by_role("button", name="Log in").click()
        expect(other.locator(".pill")).to_have_text("Live")

        tab.goto(f"{own_page.address}/account")
        expect(tab.get_by_text("this one")).to_have_count(1)
        expect(tab.locator(".entries > li").filter(has_text="Chrome on Linux")).to_have_count(1)
        tab.get_by_label("Old password").fill(PASSWORDS["vera"])
        tab.get_by_label("New password").fill("another horse")
        tab.get_by_label("The same again").fill("another horse")
        tab.get_by_role("button", name="Change password").click()
        expect(tab.get_by_text("Everywhere else you are logged out.")).to_be_visible()
        expect(tab.get_by_text("Chrome on Linux")).to_have_count(0)
        expect(other.get_by_role("button", name="Log in")).to_be_visible()
        elsewhere.close()


def test_a_limited_operator_sees_run_controls_on_their_workers_alone(browser: Browser, own_page: RunningPage) -> None:
    page = own_page
    with open_accounts(DataFolder(page.data)) as accounts:
        accounts.change_user("olaf", commands_on="rack=3")
    inside = WorkerDouble(page.mqtt_port, "inside", labels={"rack": "3"}).start([idle(0)])
    outside = WorkerDouble(page.mqtt_port, "outside", labels={"rack": "4"}).start([idle(0)])
    with logged_in(browser, page, "olaf") as tab:
        tab.goto(page.address)
        expect(row_of(tab, inside).get_by_role("button", name="Run")).to_be_visible()
        expect(row_of(tab, outside)).to_be_visible()
        expect(row_of(tab, outside).get_by_role("button")).to_have_count(0)
        expect(row_of(tab, outside).get_by_role("checkbox")).to_have_count(0)
        tab.get_by_role("checkbox", name="Select all shown workers").click()
        expect(tab.get_by_text("1 worker selected")).to_be_visible()
        tab.goto(f"{page.address}/workers/{outside.id}")
        expect(tab.get_by_role("heading", name="GPUs")).to_be_visible()
        expect(tab.get_by_role("heading", name="Run a command")).to_have_count(0)
    inside.stop()
    outside.stop()


def test_the_audit_is_read_and_filtered(browser: Browser, page: RunningPage, worker: Workers) -> None:
    double = worker("w", [idle(0)])
    session = page.session("olaf")
    csrf = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]

    def sent() -> bool:
        asked = {"command": "echo audited", "workers": [double.id]}
        path = f"{page.address}/api/v1/commands"
        return session.post(path, json=asked, headers={"X-CSRFToken": csrf}, timeout=10).status_code == 201

    eventually(sent)
    double.end(double.next_command(), 3)
    with logged_in(browser, page, "alice") as tab:
        tab.goto(f"{page.address}/audit")
        expect(tab.get_by_text("olaf ran echo audited").first).to_be_visible()
        tab.get_by_role("textbox", name="Worker").fill(double.id)
        tab.get_by_role("textbox", name="Worker").press("Enter")
        expect(tab.locator(".entries > li")).to_have_count(2)
        expect(tab.locator(".entries > li").first).to_contain_text("olaf's command ended: 1 exit 3")
        with tab.expect_download() as download:
            tab.get_by_role("link", name="CSV").click()
        assert double.id in download.value.path().read_text()


def test_an_admin_makes_a_line_with_which_a_machine_joins(browser: Browser, own_page: RunningPage) -> None:
    with logged_in(browser, own_page, "alice") as tab:
        tab.goto(own_page.address)
        tab.get_by_role("button", name="Add worker").click()
        line = parse_join_line(tab.get_by_text(re.compile("gpumon1[.]")).inner_text())
        assert line.address.port == own_page.mqtt_port
        with open_accounts(DataFolder(own_page.data)) as accounts:
            assert accounts.authenticate("join", line.key)
        joined = WorkerDouble(own_page.mqtt_port, "joined").start([idle(0)])
        expect(row_of(tab, joined)).to_be_visible()
        expect(tab.get_by_text(re.compile("gpumon1[.]"))).to_be_visible()
        tab.get_by_role("button", name="Done").click()
        expect(tab.get_by_text(re.compile("gpumon1[.]"))).to_have_count(0)
        joined.stop()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_nothing_sticks_out(browser: Browser, page: RunningPage, viewport: dict[str, int]) -> None:
    with logged_in(browser, page, "alice", viewport) as tab:  # type: ignore[arg-type]
        for path, heading in (("account", "alice"), ("users", "Users"), ("audit", "Audit")):
            tab.goto(f"{page.address}/{path}")
            expect(tab.get_by_role("heading", name=heading, exact=True)).to_be_visible()
            assert fits(tab)
