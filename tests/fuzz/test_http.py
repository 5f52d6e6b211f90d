"""The page and its API: every route there is, with odd paths, queries, bodies, headers and cookies."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import flask
import flask.testing
import msgspec
import pytest
from hypothesis import strategies as st

import webui
from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.link import InboundMessage
from gpumon.roles import Role
from gpumon.settings import Settings
from gpumon.topics import Channel, Topics
from master.master import Master
from tests.fuzz.fuzzing import ODD_TEXT, ODD_VALUES, fuzzed
from tests.master.support import info, sample
from tests.support import free_port
from webui.app import create_app

NUMBERS = itertools.count(1)
COOKIE = "gpumon"
PASSWORD = "correct horse battery"
ROLES = {"alice": Role.ADMIN, "olaf": Role.OPERATOR, "vera": Role.VIEWER}
KNOWN = ["w1", "w2", "lena", "olaf", "c-1", "login", "style.css", "1", "0"]


def _words() -> list[str]:
    """Every field of every body that the API takes, and every name that its code asks a query or form for."""
    found = {"limit", "before", "after", "worker", "next", "csrf", "name", "password"}
    for module in pkgutil.iter_modules(webui.__path__):
        content = vars(import_module(f"webui.{module.name}"))
        for value in content.values():
            if inspect.isclass(value) and issubclass(value, msgspec.Struct):
                found.update(value.__struct_fields__)
    return sorted(found)


WORDS = _words()
ROUTES = 128  # a number that is taken modulo the routes there are
latin = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
values = st.one_of(st.sampled_from(KNOWN), ODD_TEXT, st.integers().map(str), st.floats().map(str))
texts = st.one_of(st.sampled_from([*KNOWN, PASSWORD, "admin", "viewer", "ls"]), ODD_TEXT)
objects = st.dictionaries(st.sampled_from(WORDS), st.one_of(texts, st.lists(texts, max_size=3), ODD_VALUES), max_size=6)
bodies = st.one_of(
    objects.map(lambda value: json.dumps(value).encode()),
    ODD_VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
    st.just(b""),
    st.just(b"[" * 5000),
    st.just(b"x" * 20_000),
)
headers = st.dictionaries(
    st.sampled_from(
        [
            *("Authorization", "Cookie", "Origin", "Referer", "Accept", "Range", "If-None-Match", "If-Modified-Since"),
            *("X-Forwarded-For", "X-Forwarded-Proto", "Content-Encoding", "Accept-Language", "User-Agent"),
            "X-CSRFToken",
        ]
    ),
    st.one_of(latin, latin.map("Bearer {}".format), latin.map("Basic {}".format), latin.map("session={}".format)),
    max_size=3,
)


@dataclass(repr=False)
class Page:
    """An application over a master, with somebody logged in for each role."""

    master: Master
    app: flask.Flask
    rules: list[Any]
    clients: dict[str, flask.testing.FlaskClient] = field(default_factory=dict)
    csrf: dict[str, str] = field(default_factory=dict)
    logged: list[logging.LogRecord] = field(default_factory=list)

    def client(self, name: str) -> flask.testing.FlaskClient:
        """A client in which this person is logged in, again if a request before has ended that."""
        if name not in self.clients or self.clients[name].get("/api/v1/session").status_code != 200:
            self.clients[name] = client = self.app.test_client()
            # From an address of its own: failed log-ins of others do not make this one wait.
            number = next(NUMBERS)
            client.environ_base["REMOTE_ADDR"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            if name != "nobody":
                self._log_in(client, name)
        return self.clients[name]

    def _log_in(self, client: flask.testing.FlaskClient, name: str) -> None:
        known = {user.name: user for user in self.master.accounts.users()}
        if name in known:
            self.master.accounts.change_user(name, ROLES[name])
            self.master.accounts.set_password(name, PASSWORD)
        else:
            self.master.accounts.add_user(name, ROLES[name], PASSWORD)
        form = client.get("/login").get_data(as_text=True)
        token = form.split('name="csrf" value="')[1].split('"')[0]
        answer = client.post("/login", data={"csrf": token, "name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.csrf[name] = client.get("/api/v1/session").get_json()["csrf"]


class _Keeping(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with a worker, a second worker, and people; its broker is not there."""
    settings = Settings()
    folder = DataFolder(tmp_path_factory.mktemp("page") / "data")
    master = Master(settings, folder, BrokerAddress("127.0.0.1", free_port(), tls=False), None)
    master.start()
    for name in ("w1", "w2"):
        for channel, payload in ((Channel.INFO, info()), (Channel.METRICS, sample())):
            message = InboundMessage(Topics().worker(name, channel), msgspec.json.encode(payload), retained=False)
            master._ingest._receive(channel, message)
    for name, role in {**ROLES, "lena": Role.INTEGRATION}.items():
        master.accounts.add_user(name, role, PASSWORD)
    app, live = create_app(master, settings, "s" * 32)
    found = Page(master, app, sorted(app.url_map.iter_rules(), key=str))
    assert len(found.rules) <= ROUTES
    keeping = _Keeping(found.logged)
    logging.getLogger().addHandler(keeping)
    yield found
    logging.getLogger().removeHandler(keeping)
    live.stop()
    master.stop()


requests = st.fixed_dictionaries(
    {
        "route": st.integers(0, ROUTES - 1),
        "method": st.sampled_from(
            ["", "", "", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"]
        ),
        "parts": st.lists(values, min_size=4, max_size=4),
        "query": st.dictionaries(st.one_of(st.sampled_from(WORDS), ODD_TEXT), values, max_size=4),
        "body": bodies,
        "kind": st.sampled_from(["application/json"] * 3 + ["application/x-www-form-urlencoded", "text/plain", ""]),
        "headers": headers,
    }
)


@fuzzed("http", weight=8, request=requests, who=st.sampled_from([*ROLES, "nobody"]), forged=st.booleans())
def test_no_request_makes_the_page_fail_or_show_its_inside(
    page: Page, request: dict[str, Any], who: str, *, forged: bool
) -> None:
    rule = page.rules[request["route"] % len(page.rules)]
    parts = dict(zip(sorted(rule.arguments), request["parts"], strict=False))
    try:
        path = page.app.url_map.bind("127.0.0.1").build(rule.endpoint, parts)
    except Exception:  # noqa: BLE001 - a value that has no path is not one that could be asked for
        return
    method = request["method"] or min(rule.methods - {"HEAD", "OPTIONS"})
    client = page.client(who)
    shown = dict(request["headers"])
    if not forged and who in page.csrf:
        shown["X-CSRFToken"] = page.csrf[who]
    answer = client.open(
        path,
        method=method,
        query_string=request["query"],
        data=request["body"],
        content_type=request["kind"],
        headers=shown,
    )
    text = answer.get_data(as_text=True)
    assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.status_code, text[:500])
    assert not page.logged, page.logged[0].getMessage()
    assert "Traceback" not in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if path.startswith("/api/") and who == "nobody":
        assert answer.status_code != 200 or method == "OPTIONS"
    if method in ("POST", "PUT", "DELETE", "PATCH") and "X-CSRFToken" not in shown and who != "nobody":
        assert answer.status_code >= 300


@fuzzed(
    "cookies",
    weight=2,
    cookie=st.one_of(latin, st.binary(max_size=60).map(lambda data: data.hex())),
    name=st.booleans(),
)
def test_no_cookie_that_was_not_given_lets_anybody_in(page: Page, cookie: str, *, name: bool) -> None:
    client = page.app.test_client()
    key = COOKIE if name else "session"
    answer = client.get("/api/v1/workers", headers={"Cookie": f"{key}={cookie}"})
    assert answer.status_code == 401
    assert not page.logged


@fuzzed(
    "cookies", weight=3, place=st.integers(0, 400), new=st.characters(codec="ascii", exclude_characters=";, \r\n\0")
)
def test_no_cookie_that_was_changed_lets_anybody_in(page: Page, place: int, new: str) -> None:
    cookie = page.client("vera").get_cookie(COOKIE)
    assert cookie is not None
    at = place % len(cookie.value)
    if cookie.value[at] == new:
        return
    changed = cookie.value[:at] + new + cookie.value[at + 1 :]
    answer = page.app.test_client().get("/api/v1/workers", headers={"Cookie": f"{cookie.key}={changed}"})
    # The last character of a signature in base64 has bits that mean nothing.
    assert answer.status_code == 401 or at == len(cookie.value) - 1


def test_routes_were_found(page: Page) -> None:
    assert len(page.rules) > 10
    assert "webui.app" in sys.modules


EVENTS = ["watch", "unwatch", "run", "cancel", "session", "connect", "disconnect", "message", "*", ""]
rooms = st.one_of(st.sampled_from(["fleet", "commands", "worker:w1", "command:c-1", "worker:", ":"]), ODD_TEXT)
asked = st.one_of(
    rooms, objects, ODD_VALUES, st.builds(lambda names: {"command": "ls", "workers": names}, st.lists(texts))
)


@fuzzed(
    "live events",
    weight=3,
    found=[{"who": "vera", "event": name, "data": ["fleet", "fleet"]} for name in ("connect", "disconnect")],
    who=st.sampled_from(list(ROLES)),
    event=st.sampled_from(EVENTS),
    data=st.lists(asked),
)
def test_no_live_event_makes_the_page_fail(page: Page, who: str, event: str, data: list[Any]) -> None:
    socketio = page.app.extensions["socketio"]
    live = socketio.test_client(page.app, flask_test_client=page.client(who))
    assert live.is_connected()
    answer = live.emit(event, *data, callback=True)
    if live.is_connected():
        live.disconnect()
    assert not page.logged, page.logged[0].getMessage()
    if who == "vera" and event in ("run", "cancel"):
        assert "error" in answer
