"""Who is let in at `/metrics`, and what a program costs that shows a token which is nobody's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from gpumon.settings import Settings
from master.accounts import open_accounts
from master.audit import Actor, AuditTrail
from master.master import Master
from tests.support import eventually
from tests.webui.running import RunningPage
from webui.metrics_exposition import Exposition, unpacked
from webui.wrong_tokens import MOST_ADDRESSES, MOST_AT_ONCE, MOST_PER_S, WrongTokens

NOT_KNOWN = (
    "this API token is not known here: it is mistyped, revoked, expired or of another gpumon; "
    "gpumon user token NAME makes one\n"
)


def ask(page: RunningPage, authorization: str) -> requests.Response:
    headers = {"Authorization": authorization}
    return requests.get(f"{page.address}/metrics", headers=headers, allow_redirects=False, timeout=10)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.INTEGRATION])
def test_viewers_and_integrations_scrape_with_a_token_until_it_is_revoked(own_page: RunningPage, role: Role) -> None:
    with open_accounts(DataFolder(own_page.data)) as accounts:
        accounts.add_user("prometheus", role)
        made, token = accounts.tokens.make("prometheus", "scrape")

        assert ask(own_page, f"Bearer {token}").status_code == 200

        accounts.tokens.revoke(made.id)

    eventually(lambda: ask(own_page, f"Bearer {token}").status_code == 401)
    assert ask(own_page, f"Bearer {token}").text == NOT_KNOWN


def test_a_wrong_token_is_told_once_in_the_audit_and_the_log_however_often_it_is_shown(own_page: RunningPage) -> None:
    wrong = f"Bearer gpt_{'x' * 43}"

    answers = [ask(own_page, wrong) for _ in range(30)]

    assert {(answer.status_code, answer.text) for answer in answers} == {(401, NOT_KNOWN)}
    told = eventually(lambda: _refused(own_page))
    assert [(entry["who"], entry["address"], entry["detail"]["path"]) for entry in told] == [
        (None, "127.0.0.1", "/metrics")
    ]
    assert own_page.log.read_text().count("API token that is not known here") == 1
    assert "xxxxxx" not in own_page.log.read_text()


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer nonsense", "bearer gpt_ü"])
def test_what_is_no_token_is_answered_as_a_wrong_one(page: RunningPage, header: str) -> None:
    headers = {"Authorization": header.encode()}
    answer = requests.get(f"{page.address}/metrics", headers=headers, allow_redirects=False, timeout=10)

    assert answer.status_code == 401
    assert "\n" not in answer.text.rstrip("\n")


def test_basic_credentials_are_told_to_be_no_token(page: RunningPage) -> None:
    answer = requests.get(f"{page.address}/metrics", auth=("vera", "x"), allow_redirects=False, timeout=10)

    assert answer.status_code == 401
    assert answer.text.startswith("show an API token, as Authorization: Bearer TOKEN")


class Told(AuditTrail):
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[str | None, str, int]] = []

    def add_soon(self, by: Actor, action: str, subject: str | None = None, **detail: Any) -> None:
        self.rows.append((by.address, action, detail["not_listed_before"]))


@pytest.fixture
def told() -> Told:
    return Told()


def test_an_address_that_floods_has_to_wait_and_others_have_not(told: Told) -> None:
    now = [0.0]
    wrong = WrongTokens(told, lambda: now[0])

    waits = [wrong.add("192.0.2.1", "/metrics") for _ in range(MOST_AT_ONCE + 1)]

    assert set(waits[:-1]) == {0.0}
    assert waits[-1] > 0
    assert wrong.add("192.0.2.2", "/metrics") == 0
    now[0] += 1 / MOST_PER_S
    assert wrong.add("192.0.2.1", "/metrics") == 0
    assert told.rows == [("192.0.2.1", "token.refused", 0), ("192.0.2.2", "token.refused", 0)]


def test_addresses_of_one_ipv6_network_are_counted_as_one(told: Told) -> None:
    wrong = WrongTokens(told)

    for number in range(50):
        wrong.add(f"2001:db8::{number:x}", "/metrics")

    assert len(told.rows) == 1


def test_what_is_remembered_of_addresses_is_bounded(told: Told) -> None:
    wrong = WrongTokens(told)

    for number in range(MOST_ADDRESSES + 100):
        wrong.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "/metrics")

    assert len(wrong._allowed) <= MOST_ADDRESSES + 1
    assert len(wrong._untold) <= MOST_ADDRESSES + 1


def _refused(page: RunningPage) -> list[dict[str, Any]]:
    answer = page.session("alice").get(f"{page.address}/api/v1/audit?action=token.refused", timeout=10)
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


class Slow(Exposition):
    """One that takes its time, and counts."""

    made = 0

    def _texts(self) -> Iterator[str]:
        time.sleep(0.2)
        self.made += 1
        yield f"# {self.made}\n"


def test_scrapers_that_ask_at_once_share_an_answer(tmp_path: Path) -> None:
    master = Master(Settings(), DataFolder(tmp_path), BrokerAddress("127.0.0.1", 1, tls=False), None)
    exposition = Slow(master, lambda: 0)

    with ThreadPoolExecutor(12) as threads:
        answers = set(threads.map(lambda _: b"".join(unpacked(exposition.gzipped())), range(12)))

    assert exposition.made == len(answers) < 12
    time.sleep(0.5)
    assert b"".join(unpacked(exposition.gzipped())) not in answers  # later, it is made anew
