"""Logging in and out."""

from __future__ import annotations

import logging
import math
from typing import Any

import flask

from webui.context import context
from webui.sessions import form_is_ours, form_token

logger = logging.getLogger(__name__)

blueprint = flask.Blueprint("auth", __name__)


@blueprint.get("/login")
def login_form() -> Any:
    """Show the form, or go on where somebody is logged in."""
    if context().sessions.principal() is not None:
        return flask.redirect(local_path(flask.request.args.get("next")))
    return _form(problem=None, status=200)


@blueprint.post("/login")
def log_in() -> Any:
    """Check a name and password."""
    page = context()
    name, address = flask.request.form.get("name", "").strip()[:128], flask.request.remote_addr or "?"
    if not form_is_ours():
        return _form("The form had expired. Please try again.", 400)
    wait = page.throttle.wait_s(address, name)
    if wait > 0:
        response = _form(f"Too many attempts. Please try again in {math.ceil(wait)} s.", 429)
        response.headers["Retry-After"] = str(math.ceil(wait))
        return response
    principal = page.sessions.log_in(name, flask.request.form.get("password", "")[:1024])
    if principal is None:
        page.throttle.failed(address, name)
        logger.warning("a log-in failed", extra={"user": name, "address": address})
        return _form("Name or password is wrong.", 401)
    page.throttle.succeeded(address, name)
    logger.info("logged in", extra={"user": principal.name, "address": address})
    return flask.redirect(local_path(flask.request.args.get("next")), 303)


@blueprint.post("/logout")
def log_out() -> Any:
    """End the session."""
    if not form_is_ours():
        flask.abort(400, "the form had expired")
    context().sessions.log_out()
    return flask.redirect("/login", 303)


def local_path(target: str | None) -> str:
    """Return where to go after the log-in: a path of this page, whatever the address says."""
    if target is None or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    return target


def _form(problem: str | None, status: int) -> flask.Response:
    text = flask.render_template(
        "login.html",
        csrf=form_token(),
        problem=problem,
        name=flask.request.form.get("name", ""),
        next=flask.request.args.get("next", ""),
        version=context().static_version,
    )
    return flask.make_response(text, status)
