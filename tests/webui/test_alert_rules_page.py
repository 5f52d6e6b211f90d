"""Rules of alerts in a real browser: read by everybody, changed by admins in a form that the server checks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.webui.alerting import ask, firing
from tests.webui.browsing import logged_in
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, reading

pytestmark = pytest.mark.browser

Workers = Callable[..., WorkerDouble]


def rule_of(tab: Page, name: str) -> Locator:
    """Return a rule in the list."""
    return tab.locator(f".rule[id='{name}']")


def test_everybody_reads_rules_and_admins_alone_change_them(tab: Page, page: RunningPage) -> None:
    tab.goto(f"{page.address}/alerts/rules")
    expect(rule_of(tab, "xid-critical")).to_contain_text("XID 48, 62, 64, 74, 79, 95, 119 or 120")
    expect(rule_of(tab, "xid-critical")).to_contain_text("built in")
    expect(tab.locator(".rule").get_by_role("button")).to_have_count(0)
    expect(tab.get_by_role("link", name="Channels")).to_have_count(0)


def test_a_rule_is_changed_turned_off_and_reset(browser: Browser, page: RunningPage) -> None:
    with logged_in(browser, page, "alice") as tab:
        tab.goto(f"{page.address}/alerts/rules")
        rule = rule_of(tab, "throttling")
        rule.get_by_role("button", name="Change").click()
        form = rule.get_by_role("form")
        form.get_by_label("Holds for").fill("7 min")
        form.get_by_label("On workers with").fill("rack=3")
        expect(form.locator("p.rule-words")).to_contain_text("for 7 min, on rack=3")
        form.get_by_role("button", name="Save").click()
        expect(form).to_have_count(0)
        expect(rule).to_contain_text("for 7 min, on rack=3")
        expect(rule).to_contain_text("set here by alice")

        rule.get_by_role("switch").click()
        expect(rule.get_by_role("switch")).to_have_attribute("aria-checked", "false")
        expect(rule.locator(".tag")).to_have_text("off")

        rule.get_by_role("button", name="Take back the changes").click()
        rule.get_by_role("button", name="Back to how it was").click()
        expect(rule.get_by_role("switch")).to_have_attribute("aria-checked", "true")
        expect(rule).to_contain_text("built in")
        expect(rule).to_contain_text("for 5 min")


def test_what_is_wrong_is_said_beside_its_field_as_it_is_typed(browser: Browser, page: RunningPage) -> None:
    with logged_in(browser, page, "alice") as tab:
        tab.goto(f"{page.address}/alerts/rules")
        rule = rule_of(tab, "hot")
        rule.get_by_role("button", name="Change").click()
        form = rule.get_by_role("form")
        for label, wrong, words in (
            ("Limit", "warm", "expected a number in °C"),
            ("Holds for", "a while", 'text such as "90 s"'),
            ("Quiet hours", "at night", "22:00-07:00"),
            ("Ends below", "99", "expected at most 85 °C"),
        ):
            field = form.get_by_label(label)
            before = field.input_value()
            field.fill(wrong)
            expect(field).to_have_attribute("aria-invalid", "true")
            expect(form.locator(".has-problem p")).to_contain_text(words)
            field.fill(before)
            expect(form.locator(".has-problem")).to_have_count(0)


def test_a_rule_that_is_made_here_fires(browser: Browser, page: RunningPage, worker: Workers) -> None:
    double = worker("made", [reading(0, power_w=650.0)], labels={"made": "here"})
    with logged_in(browser, page, "alice") as tab:
        tab.goto(f"{page.address}/alerts/rules")
        tab.get_by_role("button", name="Add a rule").click()
        form = tab.get_by_role("form", name="A new rule")
        form.get_by_label("Name", exact=True).fill("Hungry Cards")
        expect(form.locator(".has-problem p")).to_contain_text("small letters")
        form.get_by_label("Name", exact=True).fill("hungry-cards")
        form.get_by_label("Looks at").select_option("power")
        form.get_by_label("Unit").select_option("W")
        form.get_by_label("Limit").fill("600")
        form.get_by_label("On workers with").fill("made=here")
        form.get_by_role("button", name="Add a command").click()
        form.get_by_label("Name of command 1").fill("Tell them")
        form.get_by_label("Command 1", exact=True).fill("wall {pid}")
        expect(form.get_by_role("alert")).to_contain_text("did you mean {pids}?")
        form.get_by_label("Command 1", exact=True).fill("wall {worker}")
        expect(form.locator("p.rule-words")).to_contain_text("power at or above 600 W, on made=here")
        form.get_by_role("button", name="Save").click()
        expect(rule_of(tab, "hungry-cards")).to_contain_text("set here by alice")

    double.sample([reading(0, power_w=650.0)])
    [alert] = firing(page, double)
    assert (alert["rule"], alert["unit"], alert["actions"]) == ("hungry-cards", "W", ["Tell them"])
    assert ask(page, "alice", "DELETE", "alerts/rules/hungry-cards").ok
