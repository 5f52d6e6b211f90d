"""Cookies over TLS, origins behind a proxy, undeclared routes, and what stays while the database is away."""

from __future__ import annotations

from pathlib import Path

import flask
import pytest
from werkzeug.test import TestResponse

from gpumon.roles import Principal, Role
from gpumon.settings import PageSettings, Settings
from tests.webui.conftest import unstarted_app
from tests.webui.running import RunningPage
from webui.access import Need, UndeclaredError, check_declared, need_of, needs, open_to_all
from webui.guard import Origins


def cookies(answer: TestResponse) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in answer.headers.getlist("Set-Cookie")}


def test_over_tls_the_cookie_is_this_hosts_own_and_goes_over_tls_alone(tmp_path: Path) -> None:
    client = unstarted_app(tmp_path).test_client()
    (name, line), *others = cookies(client.get("/login", base_url="https://localhost")).items()
    assert others == []
    assert name == "__Host-gpumon"
    parts = {part.strip().split("=")[0] for part in line.split(";")}
    assert {"Secure", "HttpOnly", "Path", "SameSite"} <= parts
    assert "Domain" not in parts
    assert "Path=/;" in line + ";"


def test_without_tls_the_cookie_is_one_that_the_other_does_not_replace(tmp_path: Path) -> None:
    client = unstarted_app(tmp_path).test_client()
    (name, line), *_ = cookies(client.get("/login", base_url="http://localhost")).items()
    assert name == "gpumon"
    assert "HttpOnly" in line
    assert "Secure" not in line


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        (None, True),
        ("https://gpumon.lab", True),
        ("https://GPUMON.lab", True),
        ("http://127.0.0.1:5000", True),
        ("https://127.0.0.1:5000", False),
        ("http://gpumon.lab", False),
        ("https://gpumon.lab:444", False),
        ("https://gpumon.lab.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_behind_a_proxy_the_named_origin_is_ours_as_well(origin: str | None, ours: bool) -> None:
    origins = Origins(Settings(page=PageSettings(origins=["https://gpumon.lab/"])))
    assert origins.is_ours(origin, "http", "127.0.0.1:5000") == ours


def test_a_page_for_other_machines_is_served_under_any_name_and_one_behind_a_proxy_under_its_own() -> None:
    assert Origins(Settings(host="0.0.0.0")).is_our_host("gpu-master.lab:5000")
    proxied = Origins(Settings(page=PageSettings(origins=["https://gpumon.lab:8443"])))
    assert proxied.is_our_host("gpumon.lab:8443")
    assert proxied.is_our_host("127.0.0.1:5000")
    assert not proxied.is_our_host("evil.example")


def test_a_route_that_declares_nothing_stops_the_page_from_starting() -> None:
    app = flask.Flask("forgetful", static_folder=None)

    @app.get("/new")
    def new_route() -> str:
        return "everything"

    with pytest.raises(UndeclaredError, match="new_route does not declare who may ask for it"):
        check_declared(app, [])
    open_to_all(new_route)
    check_declared(app, [])
    with pytest.raises(UndeclaredError, match="on_new"):
        check_declared(app, [_on_new])


def _on_new() -> None:
    """An event."""


@pytest.mark.parametrize(
    ("role", "met_by"),
    [
        (Role.VIEWER, {Role.VIEWER, Role.OPERATOR, Role.INTEGRATION, Role.ADMIN}),
        (Role.OPERATOR, {Role.OPERATOR, Role.ADMIN, Role.MASTER}),
        (Role.ADMIN, {Role.ADMIN}),
    ],
)
def test_what_a_role_may_do_the_lesser_ones_may_not(role: Role, met_by: set[Role]) -> None:
    @needs(role)
    def view() -> None:
        """A route."""

    need = need_of(view)
    assert need == Need(role)
    assert {each for each in Role if need.is_met_by(Principal("x", each), by_token=True)} == met_by
    assert not need.is_met_by(None, by_token=False)


def test_a_database_that_cannot_be_read_logs_nobody_out(own_page: RunningPage) -> None:
    session = own_page.session("vera")

    def status() -> int:
        return session.get(f"{own_page.address}/api/v1/session", timeout=10).status_code

    assert status() == 200
    database, hidden = own_page.data / "gpumon.db", own_page.data / "hidden.db"
    database.rename(hidden)
    assert status() == 200
    hidden.rename(database)
    assert status() == 200
