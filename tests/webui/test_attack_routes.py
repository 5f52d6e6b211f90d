"""Everybody tries every route, and everything that browsers send live: what they get is what the table says.

A route or event that `attack_table` does not know fails the test, so nobody adds one without saying there who may ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import socketio

from tests.support import eventually
from tests.webui.attack_table import EVENTS, EVERYBODY, REFUSED, ROUTES
from tests.webui.attack_target import Target
from tests.webui.conftest import LiveClient, unstarted_app
from webui.live import LiveNamespace


def filled(route: str) -> str:
    """Return a path for a route, with names of nothing that is there."""
    for part, name in (
        ("<path:_name>", "nothing"),
        ("<version>", "x"),
        ("<path:name>", "main.js"),
        ("<worker_id>", "nothing"),
        ("<uuid>", "GPU-nothing"),
        ("<command_id>", "c-nothing"),
        ("<alert_id>", "nothing"),
        ("<silence_id>", "nothing"),
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
    assert answer.json()["detail"] == "there is no user 'nobody-of-that-name': see gpumon user list"


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
