"""Sessions, addresses, names, headers and bodies as an attacker would send them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import requests

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.attack_table import PASSWORD
from tests.webui.attack_target import Target, new_session
from tests.webui.conftest import LiveClient
from tests.webui.running import PASSWORDS, form_token


def test_a_session_given_before_the_log_in_is_not_the_one_after_it(target: Target) -> None:
    page, victim = target.page, requests.Session()
    token = form_token(victim, f"{page.address}/login")
    before = victim.cookies.get("gpumon")
    planted = requests.Session()
    planted.cookies.set("gpumon", before)
    form = {"csrf": token, "name": "viewer", "password": PASSWORD}
    assert victim.post(f"{page.address}/login", data=form, allow_redirects=False, timeout=10).status_code == 303
    assert victim.cookies.get("gpumon") != before
    assert planted.get(f"{page.address}/api/v1/session", timeout=10).status_code == 401
    assert victim.get(f"{page.address}/api/v1/session", timeout=10).status_code == 200


def test_logging_in_again_ends_the_session_that_the_browser_had(target: Target) -> None:
    page, copy, browser = target.page, requests.Session(), new_session(target.page, "viewer")
    copy.cookies.update(browser.cookies)
    token = browser.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
    form = {"csrf": token, "name": "operator", "password": PASSWORD}
    browser.post(f"{page.address}/login", data=form, timeout=10)
    assert browser.get(f"{page.address}/api/v1/session", timeout=10).json()["user"] == "operator"
    assert copy.get(f"{page.address}/api/v1/session", timeout=10).status_code == 401


def test_a_changed_password_ends_the_other_sessions_and_their_live_connections(target: Target) -> None:
    page = target.page
    with open_accounts(DataFolder(page.data)) as accounts:
        accounts.add_user("pat", Role.VIEWER, PASSWORD)
    here, elsewhere = new_session(page, "pat"), new_session(page, "pat")
    client = LiveClient(page, elsewhere)
    csrf = here.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]

    def change(old: str) -> requests.Response:
        body = {"old": old, "new": "another horse"}
        path = f"{page.address}/api/v1/account/password"
        return here.post(path, json=body, headers={"X-CSRFToken": csrf}, timeout=10)

    assert change("a wrong guess").status_code == 422
    assert change(PASSWORD).status_code == 200
    assert elsewhere.get(f"{page.address}/api/v1/session", timeout=10).status_code == 401
    assert here.get(f"{page.address}/api/v1/session", timeout=10).status_code == 200
    eventually(lambda: not client.client.connected, timeout_s=3)


def test_a_changed_limit_ends_live_connections_under_the_old_one(target: Target) -> None:
    page = target.page
    with open_accounts(DataFolder(page.data)) as accounts:
        accounts.add_user("lim", Role.OPERATOR, PASSWORD)
        client = LiveClient(page, new_session(page, "lim"))
        accounts.change_user("lim", commands_on="rack=3")
        assert "which outside is not" in client.ask("run", {"command": "true", "workers": ["outside"]})["error"]
        eventually(lambda: not client.client.connected, timeout_s=3)


@pytest.mark.parametrize(
    "path",
    [
        "/static/x/../app.py",
        "/static/x/..%2fapp.py",
        "/static/x/%2e%2e/app.py",
        "/static/x/..%5capp.py",
        "/static/x//etc/passwd",
        "/static/x/%2fetc%2fpasswd",
        "/static/../../etc/passwd",
        "/static/x/main.js%00.css",
        "/static/x/.",
    ],
)
def test_nothing_but_static_files_is_served_as_such(target: Target, path: str) -> None:
    request = requests.Request("GET", target.page.address).prepare()
    request.url = target.page.address + path  # as it is, without what requests would tidy up
    answer = requests.Session().send(request, allow_redirects=False, timeout=10)
    assert answer.status_code in {302, 308, 404}
    assert "root:" not in answer.text
    assert "create_app" not in answer.text


@pytest.mark.parametrize(
    "aim",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:%20a=b",
        "http:/evil.example",
    ],
)
def test_the_log_in_sends_nobody_elsewhere_and_adds_no_header(target: Target, aim: str) -> None:
    session = requests.Session()
    address = f"{target.page.address}/login?next={quote(aim, safe='%')}"
    form = {"csrf": form_token(session, address), "name": "viewer", "password": PASSWORD}
    answer = session.post(address, data=form, allow_redirects=False, timeout=10)
    assert answer.status_code == 303
    place = answer.headers["Location"]
    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))
    assert "evil.example" not in place
    assert "a=b" not in answer.headers.get("Set-Cookie", "")


def test_headers_and_file_names_cannot_be_injected(target: Target) -> None:
    answer = target.ask("P viewer", "GET", '/api/v1/commands/c-1%0d%0aX-Evil:%201/output.txt?worker="%0d%0aX-Evil: 1')
    assert answer.status_code == 404
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "gpumon.lab", ""])
def test_a_page_for_this_machine_is_not_served_under_a_foreign_name(target: Target, name: str) -> None:
    for path in ("/login", "/api/v1/session", "/healthz", "/socket.io/?EIO=4&transport=websocket"):
        answer = target.ask("P admin", "GET", path, headers={"Host": name})
        assert answer.status_code in {400, 403, 421}, path


@pytest.mark.parametrize("name", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "LOCALHOST"])
def test_it_is_served_under_this_machines_own_names(target: Target, name: str) -> None:
    assert target.ask("nobody", "GET", "/healthz", headers={"Host": name}).status_code == 200


def test_bodies_that_are_too_large_are_refused_before_they_are_read_whole(target: Target) -> None:
    form = b"csrf=" + b"x" * 100_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert target.ask("nobody", "POST", "/login", data=form, headers=kind).status_code == 413
    whole = b'{"command": "' + b"x" * 3_000_000 + b'"}'
    json_kind = {"Content-Type": "application/json"}
    assert target.ask("T operator", "POST", "/api/v1/commands", data=whole, headers=json_kind).status_code == 413
    pieces = (b"x" * 10_000 for _ in range(300))
    answer = target.ask("T operator", "POST", "/api/v1/commands", data=pieces, headers=json_kind)
    assert answer.status_code in {411, 413}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"command": "true", "workers": ["w"], "timeout_s": 1e999}',
        b'{"command": "true", "workers": ["w"], "timeout_s": NaN}',
        b'{"command": "true", "workers": ["w"], "role": "admin"}',
        b'{"command": "\\ud800", "workers": ["inside"]}',
        b'{"command": "' + b"x" * 70_000 + b'", "workers": ["inside"]}',
        b'{"command": "true", "workers": [' + b'"w",' * 20_000 + b'"w"]}',
    ],
)
def test_json_that_cannot_be_used_is_told_so(target: Target, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = target.ask("T operator", "POST", "/api/v1/commands", data=body, headers=headers)
    assert answer.status_code == 400 or (answer.status_code == 413 and len(body) > 64 * 1024)
    assert "Traceback" not in answer.text
    assert len(answer.text) < 500
    assert target.inside.received.empty()


@pytest.mark.parametrize(
    "body",
    [
        b'{"command": "true"}',
        b'{"command": "true", "workers": [], "all": true}',
        b'{"command": "true", "workers": ["w"], "labels": {"a": "b"}}',
        b'{"command": "\\u0000", "workers": ["inside"]}',
        b'{"command": " ", "workers": ["inside"]}',
    ],
)
def test_a_command_that_cannot_be_meant_is_told_so(target: Target, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = target.ask("T operator", "POST", "/api/v1/commands", data=body, headers=headers)
    assert answer.status_code == 422
    assert "Traceback" not in answer.text
    assert len(answer.text) < 500
    assert target.inside.received.empty()


def test_only_json_is_taken_as_json(target: Target) -> None:
    body = b'{"command": "true", "workers": ["inside"]}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = target.ask("T operator", "POST", "/api/v1/commands", data=body, headers={"Content-Type": kind})
        assert answer.status_code == 415


def test_a_browser_that_floods_is_cut_off_and_the_others_notice_nothing(target: Target) -> None:
    other = LiveClient(target.page, target.attackers["P viewer"])
    flooding = LiveClient(target.page, target.attackers["P operator"])
    for number in range(2_000):
        if not flooding.client.connected:
            break
        flooding.client.emit("watch", f"worker:{number}")
    eventually(lambda: not flooding.client.connected)
    assert other.watch("fleet")["rows"]
    other.client.disconnect()


@pytest.mark.parametrize(
    "packet",
    ['42["connect",{}]', '42["disconnect"]', '42["handlers"]', "42[{}]", "42[]", '42["watch",[[[]]]]', "4", "49", "x"],
)
def test_live_messages_that_make_no_sense_hurt_nobody(target: Target, packet: str) -> None:
    other = LiveClient(target.page, target.attackers["P viewer"])
    client = LiveClient(target.page, target.attackers["P operator"])
    client.client.eio.ws.send(packet)
    assert other.watch("fleet")["rows"]
    for each in (client, other):
        each.client.disconnect()


def test_errors_tell_nothing_of_the_inside_and_carry_the_headers(target: Target) -> None:
    for method, path in (
        ("GET", "/nothing"),
        ("PUT", "/login"),
        ("GET", "/api/v1/nothing"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/api/v1/commands?limit=x&before=y"),
        ("GET", "/api/v1/audit?before=99999999999999999999999"),
        ("GET", "/api/v1/workers/%00"),
        ("GET", "/api/v1/workers/%ff%fe"),
    ):
        answer = target.ask("P admin", method, path)
        assert answer.status_code in {200, 400, 404, 405}, path
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "Traceback" not in answer.text
        assert "/work" not in answer.text


def test_people_who_have_logged_in_before_are_still_known_by_name_in_the_audit(target: Target) -> None:
    new_session(target.page, "vera", PASSWORDS["vera"])
    entries = target.ask("P admin", "GET", "/api/v1/audit?who=vera&action=login").json()["entries"]
    assert (entries[0]["action"], entries[0]["origin"], entries[0]["address"]) == ("login", "page", "127.0.0.1")
    lines = target.ask("T admin", "GET", "/api/v1/audit.jsonl?who=vera").text.splitlines()
    assert len(lines) >= 1
    assert target.ask("T admin", "GET", "/api/v1/audit.csv").headers["Content-Type"].startswith("text/csv")
