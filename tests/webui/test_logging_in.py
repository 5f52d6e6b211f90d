"""Logging in and out over the real server, and what every answer carries."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.running import PASSWORDS, RunningPage, form_token
from webui.auth import local_path
from webui.throttle import FROM_ONE_PLACE


def try_to_log_in(
    page: RunningPage, name: str, password: str, session: requests.Session | None = None
) -> requests.Response:
    session = session or requests.Session()
    token = form_token(session, f"{page.address}/login")
    form = {"csrf": token, "name": name, "password": password}
    return session.post(f"{page.address}/login", data=form, allow_redirects=False, timeout=10)


def test_a_person_logs_in_and_the_cookie_is_kept_from_scripts_and_other_sites(page: RunningPage) -> None:
    answer = try_to_log_in(page, "olaf", PASSWORDS["olaf"])

    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Expires=" in cookie


def test_a_wrong_password_an_unknown_name_and_a_worker_get_the_same_answer(own_page: RunningPage) -> None:
    page = own_page
    with open_accounts(DataFolder(page.data)) as accounts:
        token = accounts.add_worker("a-worker")

    answers = [
        try_to_log_in(page, "olaf", "wrong password"),
        try_to_log_in(page, "nobody", "wrong password"),
        try_to_log_in(page, "a-worker", token),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all("Name or password is wrong." in answer.text for answer in answers)


def test_who_guesses_passwords_has_to_wait_and_is_told_how_long(own_page: RunningPage) -> None:
    for _ in range(FROM_ONE_PLACE.free):
        assert try_to_log_in(own_page, "olaf", "a wrong guess").status_code == 401

    refused = try_to_log_in(own_page, "olaf", PASSWORDS["olaf"])

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "Too many attempts" in refused.text


def test_a_browser_that_was_logged_in_before_is_not_held_up_by_guesses_from_elsewhere(own_page: RunningPage) -> None:
    known = requests.Session()
    assert try_to_log_in(own_page, "olaf", PASSWORDS["olaf"], known).status_code == 303
    known.cookies.set("gpumon", None)  # its session has ended
    for _ in range(FROM_ONE_PLACE.free):
        try_to_log_in(own_page, "olaf", "a wrong guess")
    assert try_to_log_in(own_page, "olaf", PASSWORDS["olaf"]).status_code == 429

    assert try_to_log_in(own_page, "olaf", PASSWORDS["olaf"], known).status_code == 303


def test_a_form_from_another_site_is_refused(page: RunningPage) -> None:
    form = {"csrf": "made up", "name": "olaf", "password": PASSWORDS["olaf"]}

    answer = requests.post(f"{page.address}/login", data=form, timeout=10)

    assert answer.status_code == 400


def test_after_the_log_in_one_is_where_one_wanted_to_go(page: RunningPage) -> None:
    session = requests.Session()
    sent_away = session.get(f"{page.address}/workers/w1", timeout=10)
    assert sent_away.url.endswith("/login?next=/workers/w1")

    token = form_token(session, sent_away.url)
    form = {"csrf": token, "name": "olaf", "password": PASSWORDS["olaf"]}
    answer = session.post(sent_away.url, data=form, timeout=10)

    assert answer.url == f"{page.address}/workers/w1"


@pytest.mark.parametrize(
    "target", [None, "", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"]
)
def test_the_log_in_leads_nowhere_else(target: str | None) -> None:
    assert local_path(target) == "/"


def test_logging_out_ends_the_session(page: RunningPage) -> None:
    session = requests.Session()
    try_to_log_in(page, "olaf", PASSWORDS["olaf"], session)
    token = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]

    assert session.post(f"{page.address}/logout", data={"csrf": "made up"}, timeout=10).status_code == 400
    session.post(f"{page.address}/logout", data={"csrf": token}, timeout=10)

    assert session.get(f"{page.address}/api/v1/session", timeout=10).status_code == 401


def test_a_changed_role_counts_at_once_and_a_removed_account_ends_its_sessions_for_good(own_page: RunningPage) -> None:
    session = own_page.session("vera")

    def told() -> requests.Response:
        return session.get(f"{own_page.address}/api/v1/session", timeout=10)

    assert told().json()["may_run"] is False
    with open_accounts(DataFolder(own_page.data)) as accounts:
        accounts.change_user("vera", Role.OPERATOR)
        assert told().json()["may_run"] is True
        accounts.remove_user("vera")
        assert told().status_code == 401
        accounts.add_user("vera", Role.VIEWER, PASSWORDS["vera"])
    assert told().status_code == 401


def test_every_answer_forbids_inline_scripts_framing_and_guessing_types(page: RunningPage) -> None:
    session = page.session("olaf")

    for path in ("/", "/login", "/healthz", "/api/v1/workers", "/nothing-here"):
        headers = session.get(page.address + path, timeout=10).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_static_files_are_kept_by_browsers_under_an_address_with_their_version(page: RunningPage) -> None:
    text = page.session("olaf").get(page.address, timeout=10).text
    path = text.split('type="module" src="')[1].split('"')[0]

    answer = requests.get(page.address + path, timeout=10)

    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "max-age=31536000" in answer.headers["Cache-Control"]
    assert requests.get(f"{page.address}/static/x/..%2f..%2fapp.py", timeout=10).status_code == 404


def test_a_password_typed_as_the_name_is_neither_logged_nor_audited(own_page: RunningPage) -> None:
    assert try_to_log_in(own_page, "correct-horse-s3cret", "olaf").status_code == 401
    assert try_to_log_in(own_page, "olaf", "correct-horse-s3cret").status_code == 401

    entries = eventually(lambda: _failed_log_ins(own_page, 2))
    assert [entry["who"] for entry in entries] == ["olaf", None]
    assert "correct-horse-s3cret" not in own_page.log.read_text()
    assert "user=olaf" in own_page.log.read_text()


def _failed_log_ins(page: RunningPage, count: int) -> list[dict[str, Any]]:
    found = page.session("alice").get(f"{page.address}/api/v1/audit", timeout=10).json()["entries"]
    entries = [entry for entry in found if entry["action"] == "login.failed"]
    return entries if len(entries) == count else []
