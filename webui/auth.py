"""Logging in and out."""

from __future__ import annotations

import logging
import math
from typing import Any

import flask
from flask_wtf.csrf import generate_csrf

from gpumon.roles import Role
from webui.access import needs, open_to_all
from webui.context import context
from webui.throttle import KNOWN_FOR_S, BusyError

logger = logging.getLogger(__name__)

blueprint = flask.Blueprint("auth", __name__)


@blueprint.get("/login")
@open_to_all
def login_form() -> Any:
    """Show the form, or go on where somebody is logged in."""
    if flask.g.visitor is not None:
        return flask.redirect(local_path(flask.request.args.get("next")))
    return form(problem=None, status=200)


@blueprint.post("/login")
@open_to_all
def log_in() -> Any:
    """Check a name and password."""
    page = context()
    name, address = flask.request.form.get("name", "").strip()[:128], flask.request.remote_addr or "?"
    browser = page.known_browsers.recognise(flask.request.cookies.get(_cookie()), name)
    wait_s = page.throttle.wait_s(address, name, browser)
    if wait_s > 0:
        return _later(f"Too many attempts. Please try again in {math.ceil(wait_s)} s.", 429, wait_s)
    try:
        principal = page.sessions.log_in(name, flask.request.form.get("password", "")[:1024])
    except BusyError as error:
        page.throttle.succeeded(address, name, browser)  # nothing was checked
        return _later(f"{error}".capitalize() + ".", 503, 3.0)
    if principal is None:
        known = page.sessions.known_name(name)  # what nobody is called may be a password, typed into the wrong field
        page.failed_logins.add(known, address)
        logger.warning("a log-in failed", extra={"user": known or "(nobody of this name)", "address": address})
        return form("Name or password is wrong.", 401)
    page.throttle.succeeded(address, name, browser)
    logger.info("logged in", extra={"user": principal.name, "address": address})
    response = flask.redirect(local_path(flask.request.args.get("next")), 303)
    response.set_cookie(
        _cookie(),
        page.known_browsers.introduce(principal.name),
        max_age=KNOWN_FOR_S,
        secure=flask.request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.post("/logout")
@needs(Role.VIEWER, by_token=False)
def log_out() -> Any:
    """End the session, and with it whatever another copy of its cookie could do."""
    context().sessions.log_out()
    return flask.redirect("/login", 303)


def local_path(target: str | None) -> str:
    """Return where to go after the log-in: a path of this page, whatever the address says."""
    if target is None or not target.startswith("/") or target.startswith("//"):
        return "/"
    if "\\" in target or not target.isprintable():  # browsers take one for a slash, and drop tabs and line ends
        return "/"
    return target


def form(problem: str | None, status: int) -> flask.Response:
    """Return the log-in form."""
    text = flask.render_template(
        "login.html",
        csrf=generate_csrf(),
        problem=problem,
        name=flask.request.form.get("name", "")[:128],
        version=context().static_version,
    )
    return flask.make_response(text, status)


def _later(problem: str, status: int, wait_s: float) -> flask.Response:
    response = form(problem, status)
    response.headers["Retry-After"] = str(math.ceil(wait_s))
    return response


def _cookie() -> str:
    return "__Host-gpumon-known" if flask.request.is_secure else "gpumon-known"
