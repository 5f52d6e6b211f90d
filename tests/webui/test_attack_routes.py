"""Everybody tries every route, and everything that browsers send live: what they get is what this table says.

The table is written by hand, apart from the declarations in the code. A route or event that it does not know fails the
test, so nobody adds one without saying here who may ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import socketio

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.audit import BY_ITSELF
from tests.support import eventually, mosquitto
from tests.webui.conftest import LiveClient, serving, unstarted_app
from tests.webui.running import PASSWORDS, RunningPage, form_token
from tests.webui.worker_double import WorkerDouble, idle
from webui.live import LiveNamespace

# Who comes, and with what. `P` are people with a session, `T` programs with a user's API token.
VIEWERS = {"P viewer", "P operator", "P limited", "P admin"}
COMMANDERS = {"P operator", "P limited", "P admin"}
TOKENS = {"T viewer", "T operator", "T limited", "T admin", "T integration", "T granted"}
TOKEN_COMMANDERS = {"T operator", "T limited", "T admin", "T granted"}
NOBODIES = {
    "nobody",
    "worker token",
    "ended session",
    "logged out",
    "forged cookie",
    "revoked token",
    "expired token",
    "made-up token",
    "wrong token beside a good session",
    "P integration",  # cannot log in on the page
}
EVERYBODY = VIEWERS | TOKENS | NOBODIES

ANYBODY = EVERYBODY
READ = VIEWERS | TOKENS
PERSON = VIEWERS
COMMAND = COMMANDERS | TOKEN_COMMANDERS
ADMIN = {"P admin", "T admin"}
ADMIN_PERSON = {"P admin"}

# Method and route: who gets further than the guard, and a body that makes no change where that succeeds.
ROUTES: dict[tuple[str, str], set[str]] = {
    ("GET", "/"): PERSON,
    ("GET", "/commands"): PERSON,
    ("GET", "/account"): PERSON,
    ("GET", "/workers/<path:_name>"): PERSON,
    ("GET", "/commands/<path:_name>"): PERSON,
    ("GET", "/users"): ADMIN_PERSON,
    ("GET", "/audit"): ADMIN_PERSON,
    ("GET", "/login"): ANYBODY,
    ("POST", "/login"): ANYBODY,
    ("POST", "/logout"): PERSON,
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/ca.crt"): ANYBODY,
    ("GET", "/favicon.ico"): ANYBODY,
    ("GET", "/static/<version>/<path:name>"): ANYBODY,
    ("GET", "/api/v1/session"): READ,
    ("GET", "/api/v1/workers"): READ,
    ("GET", "/api/v1/workers/<worker_id>"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history.csv"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history.json"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history.csv"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history.json"): READ,
    ("GET", "/api/v1/commands"): READ,
    ("POST", "/api/v1/commands"): COMMAND,
    ("GET", "/api/v1/commands/<command_id>"): READ,
    ("POST", "/api/v1/commands/<command_id>/cancel"): COMMAND,
    ("GET", "/api/v1/commands/<command_id>/output"): READ,
    ("GET", "/api/v1/commands/<command_id>/output.txt"): READ,
    ("GET", "/api/v1/commands/<command_id>/gathered"): READ,
    ("GET", "/api/v1/account"): PERSON,
    ("POST", "/api/v1/account/password"): PERSON,
    ("DELETE", "/api/v1/account/sessions/<session_id>"): PERSON,
    ("POST", "/api/v1/account/tokens"): PERSON,
    ("DELETE", "/api/v1/account/tokens/<token_id>"): PERSON,
    ("GET", "/api/v1/users"): ADMIN_PERSON,
    ("POST", "/api/v1/users"): ADMIN_PERSON,
    ("PATCH", "/api/v1/users/<name>"): ADMIN_PERSON,
    ("DELETE", "/api/v1/users/<name>"): ADMIN_PERSON,
    ("POST", "/api/v1/users/<name>/password"): ADMIN_PERSON,
    ("DELETE", "/api/v1/users/<name>/sessions"): ADMIN_PERSON,
    ("GET", "/api/v1/join-keys"): ADMIN_PERSON,
    ("POST", "/api/v1/join-keys"): ADMIN_PERSON,
    ("DELETE", "/api/v1/join-keys/<key_id>"): ADMIN_PERSON,
    ("GET", "/api/v1/audit"): ADMIN,
    ("GET", "/api/v1/audit.csv"): ADMIN,
    ("GET", "/api/v1/audit.jsonl"): ADMIN,
}
EVENTS: dict[str, set[str]] = {
    "connect": VIEWERS,
    "disconnect": VIEWERS,
    "watch": VIEWERS,
    "unwatch": VIEWERS,
    "run": COMMANDERS,
    "cancel": COMMANDERS,
}
REFUSED = {401, 403}
ACCOUNTS = {
    "viewer": (Role.VIEWER, None),
    "operator": (Role.OPERATOR, None),
    "limited": (Role.OPERATOR, "rack=3"),
    "integration": (Role.INTEGRATION, None),
    "granted": (Role.INTEGRATION, "rack=3"),
    "admin": (Role.ADMIN, None),
}
PASSWORD = "correct horse for all"


@dataclass
class Target:
    """The page that is attacked, and all who come."""

    page: RunningPage
    attackers: dict[str, requests.Session]
    csrf: dict[str, str]
    inside: WorkerDouble
    outside: WorkerDouble

    def ask(self, who: str, method: str, path: str, *, csrf: bool = True, **options: Any) -> requests.Response:
        """Send a request as one of those who come."""
        headers = {"X-CSRFToken": self.csrf[who]} if csrf and who in self.csrf else {}
        headers |= options.pop("headers", {})
        return self.attackers[who].request(
            method, self.page.address + path, headers=headers, allow_redirects=False, timeout=10, **options
        )


def new_session(page: RunningPage, name: str, password: str = PASSWORD) -> requests.Session:
    session = requests.Session()
    token = form_token(session, f"{page.address}/login")
    form = {"csrf": token, "name": name, "password": password}
    answer = session.post(f"{page.address}/login", data=form, allow_redirects=False, timeout=10)
    assert answer.status_code == 303 or ACCOUNTS[name][0] is Role.INTEGRATION, answer.text
    return session


def bearer(token: str, session: requests.Session | None = None) -> requests.Session:
    session = session or requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked")
    with mosquitto(folder) as mqtt_port, serving(folder, mqtt_port) as page:
        inside = WorkerDouble(mqtt_port, "inside", labels={"rack": "3"}).start([idle(0)])
        outside = WorkerDouble(mqtt_port, "outside", labels={"rack": "4"}).start([idle(0)])
        attackers: dict[str, requests.Session] = {"nobody": requests.Session()}
        with open_accounts(DataFolder(page.data)) as accounts:
            for name, (role, limit) in ACCOUNTS.items():
                accounts.add_user(name, role, PASSWORD, limit)
                attackers[f"P {name}"] = new_session(page, name)
                attackers[f"T {name}"] = bearer(accounts.tokens.make(name, "attack")[1])
            attackers["worker token"] = bearer(accounts.add_worker("w1"))
            revoked, token = accounts.tokens.make("admin", "revoked")
            accounts.tokens.revoke(revoked.id)
            attackers["revoked token"] = bearer(token)
            attackers["expired token"] = bearer(accounts.tokens.make("admin", "old", lifetime_s=0.001)[1])
            attackers["made-up token"] = bearer(f"gpt_{'x' * 43}")
            attackers["ended session"] = new_session(page, "admin")
            accounts.sessions.end_all("admin", BY_ITSELF)
            attackers["P admin"] = new_session(page, "admin")
        attackers["logged out"] = logged_out_copy(page)
        attackers["forged cookie"] = requests.Session()
        attackers["forged cookie"].cookies.set("gpumon", "eyJzZWNyZXQiOiJ4In0.aSQwAA.AAAAAAAAAAAAAAAAAAAAAAAAAAA")
        attackers["wrong token beside a good session"] = bearer(f"gpt_{'y' * 43}", new_session(page, "admin"))
        csrf = {
            who: session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
            for who, session in attackers.items()
            if who in VIEWERS
        }
        target = Target(page, attackers, csrf, inside, outside)
        eventually(lambda: len(target.ask("P viewer", "GET", "/api/v1/workers").json()["rows"]) == 2)
        yield target
        inside.stop()
        outside.stop()


def logged_out_copy(page: RunningPage) -> requests.Session:
    """Return a copy of an admin's cookie, made before that admin logged out."""
    session = new_session(page, "admin")
    copy = requests.Session()
    copy.cookies.update(session.cookies)
    token = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
    session.post(f"{page.address}/logout", data={"csrf": token}, timeout=10)
    return copy


def filled(route: str) -> str:
    """Return a path for a route, with names of nothing that is there."""
    for part, name in (
        ("<path:_name>", "nothing"),
        ("<version>", "x"),
        ("<path:name>", "main.js"),
        ("<worker_id>", "nothing"),
        ("<command_id>", "c-nothing"),
        ("<session_id>", "nothing"),
        ("<token_id>", "t-nothing"),
        ("<key_id>", "k-nothing"),
        ("<name>", "nobody-of-that-name"),
    ):
        route = route.replace(part, name)
    return route


def test_no_route_and_no_event_is_missing_from_the_table(tmp_path: Path) -> None:
    app = unstarted_app(tmp_path)
    there = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there - set(ROUTES) == set(), "say in ROUTES who may ask for these, and the same in the code with @needs"
    assert set(ROUTES) - there == set(), "these are gone: take them out of ROUTES"
    events = {handler.__name__.removeprefix("on_") for handler in LiveNamespace.handlers()}
    assert events == set(EVENTS), "say in EVENTS who may send these, and the same in the code with @needs"


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=str)
def test_a_route_answers_those_alone_who_may_ask(target: Target, method: str, route: str) -> None:
    allowed = ROUTES[method, route]
    for who in sorted(EVERYBODY):
        if (method, route) == ("POST", "/logout") and who in allowed:
            continue  # below: it would end the session for the tests that follow
        options: dict[str, Any] = {} if method == "GET" else {"json": {}}
        status = target.ask(who, method, filled(route), csrf=route != "/login", **options).status_code
        is_let_in = status not in REFUSED and not (status == 302 and route != "/login")
        if (method, route) == ("POST", "/login"):
            is_let_in = status == 400  # the form without its token: who has an API token needs it here as well
        assert is_let_in == (who in allowed), f"{who}: {status}"
        assert status < 500, f"{who}: {status}"


@pytest.mark.parametrize(("method", "route"), [(m, r) for m, r in ROUTES if m != "GET" and r != "/login"], ids=str)
def test_what_changes_something_takes_the_sessions_own_token_and_origin(
    target: Target, method: str, route: str
) -> None:
    path = filled(route)
    foreign = {"X-CSRFToken": target.csrf["P viewer"]}
    for wrong in ({}, {"X-CSRFToken": "made up"}, {"X-CSRFToken": ""}, foreign):
        answer = target.ask("P admin", method, path, csrf=False, json={}, headers=wrong)
        assert answer.status_code == 400, wrong
        assert "form had expired" in answer.text
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"{target.page.address}.evil.example"):
        answer = target.ask("P admin", method, path, json={}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "another site" in answer.text


def test_the_pages_own_origin_is_let_through(target: Target) -> None:
    answer = target.ask(
        "P admin", "DELETE", "/api/v1/users/nobody-of-that-name", headers={"Origin": target.page.address}
    )
    assert answer.json() == {"error": "there is no user 'nobody-of-that-name': see gpumon user list"}


@pytest.mark.parametrize("who", sorted(EVERYBODY))
def test_only_people_with_a_session_connect_live(target: Target, who: str) -> None:
    client = socketio.Client(http_session=target.attackers[who], reconnection=False)
    try:
        shown = {name: str(text) for name, text in target.attackers[who].headers.items() if name == "Authorization"}
        client.connect(target.page.address, shown, transports=["websocket"], wait_timeout=10)
        connected = True
    except socketio.exceptions.ConnectionError:
        connected = False
    assert connected == (who in EVENTS["connect"])
    client.disconnect()


@pytest.mark.parametrize("who", sorted(EVENTS["connect"]))
def test_a_live_event_is_answered_to_those_alone_who_may_send_it(target: Target, who: str) -> None:
    sent: dict[str, Any] = {"watch": "fleet", "unwatch": "fleet", "run": {}, "cancel": {}}
    assert set(sent) | {"connect", "disconnect"} == set(EVENTS)
    client = LiveClient(target.page, target.attackers[who])
    for event, data in sent.items():
        answer = client.ask(event, data)
        is_refused = isinstance(answer, dict) and "viewers may watch" in str(answer.get("error"))
        assert is_refused == (who not in EVENTS[event]), event
    client.client.disconnect()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "", "file://"])
def test_a_live_connection_from_another_origin_is_refused_whatever_cookie_it_brings(
    target: Target, origin: str
) -> None:
    address = f"{target.page.address}/socket.io/?EIO=4&transport=websocket"
    headers = {
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    answer = target.attackers["P admin"].get(address, headers=headers, timeout=10)
    assert answer.status_code == 403
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("T admin", {"inside", "outside"}),
        ("T operator", {"inside", "outside"}),
        ("T limited", {"inside"}),
        ("T granted", {"inside"}),
    ],
)
def test_a_limit_holds_at_the_api(target: Target, who: str, allowed: set[str]) -> None:
    for worker in (target.inside, target.outside):
        answer = target.ask(who, "POST", "/api/v1/commands", json={"command": "true", "workers": [worker.id]})
        assert answer.status_code == (201 if worker.id in allowed else 403), answer.text
        if worker.id in allowed:
            worker.end(worker.next_command())
        else:
            assert worker.id in answer.json()["error"]
    chosen = target.ask(who, "POST", "/api/v1/commands", json={"command": "true", "all": True}).json()
    assert set(chosen["workers"]) == allowed
    for worker in (target.inside, target.outside):
        if worker.id in allowed:
            command = worker.next_command()
            assert command.id == chosen["id"]
            worker.end(command)
        assert worker.received.empty()


def test_a_limit_holds_for_live_events_and_for_cancelling(target: Target) -> None:
    client = LiveClient(target.page, target.attackers["P limited"])
    refused = client.ask("run", {"command": "true", "workers": ["inside", "outside"]})
    assert "rack=3 alone, which outside is not" in refused["error"]
    started = target.ask("T operator", "POST", "/api/v1/commands", json={"command": "sleep 9", "all": True}).json()
    for worker in (target.inside, target.outside):
        worker.next_command()
    assert "outside" in client.ask("cancel", {"id": started["id"], "workers": ["outside"]})["error"]
    assert client.ask("cancel", {"id": started["id"]}) == {}
    assert target.inside.next_cancel().id == started["id"]
    assert target.outside.received.empty()
    client.client.disconnect()


def test_a_tokens_commands_are_audited_as_its_users_at_the_api(target: Target) -> None:
    who = "T granted"
    started = target.ask(who, "POST", "/api/v1/commands", json={"command": "id", "labels": {"rack": "3"}}).json()
    target.inside.end(target.inside.next_command(), 4)

    def found() -> list[dict[str, Any]]:
        answer = target.ask("T admin", "GET", "/api/v1/audit?who=granted&action=command&limit=500")
        return [entry for entry in answer.json()["entries"] if entry["subject"] == started["id"]]

    eventually(lambda: len(found()) == 2)
    ended, run = found()
    assert (run["action"], run["origin"], run["address"]) == ("command.run", "api", "127.0.0.1")
    assert run["detail"] == {"command": "id", "workers": ["inside"], "timeout_s": 60.0}
    assert (ended["action"], ended["detail"]["counts"]) == ("command.ended", {"exit 4": 1})


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

    assert change("a wrong guess").status_code == 400
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
        b'{"command": "true"}',
        b'{"command": "true", "workers": [], "all": true}',
        b'{"command": "true", "workers": ["w"], "labels": {"a": "b"}}',
        b'{"command": "\\u0000", "workers": ["inside"]}',
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
