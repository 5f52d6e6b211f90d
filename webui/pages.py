"""The HTML shell that every view of the page starts from, its static files, and the health check."""

from __future__ import annotations

import json
from typing import Any

import flask

from webui.api import session_info
from webui.context import context

blueprint = flask.Blueprint("pages", __name__)

A_YEAR_S = 365 * 24 * 3600


@blueprint.get("/")
@blueprint.get("/commands")
@blueprint.get("/workers/<path:_name>")
@blueprint.get("/commands/<path:_name>")
def shell(_name: str = "") -> Any:
    """Return the shell; which view it shows is decided by the address in the browser."""
    page = context()
    principal = page.sessions.principal()
    if principal is None:
        return flask.redirect(flask.url_for("auth.login_form", next=flask.request.full_path.rstrip("?")))
    return flask.render_template(
        "shell.html",
        session=json.dumps(session_info(principal)),
        version=page.static_version,
        modules=page.modules,
    )


@blueprint.get("/static/<version>/<path:name>")
def static_file(version: str, name: str) -> Any:
    """Return a static file; its address carries a version, so a browser may keep it for good."""
    kept_s = A_YEAR_S if version == context().static_version else 0
    return flask.send_from_directory(flask.current_app.root_path + "/static", name, max_age=kept_s)


@blueprint.get("/favicon.ico")
def favicon() -> Any:
    """Return the icon to browsers that ask for it by its old name."""
    return flask.send_from_directory(flask.current_app.root_path + "/static", "icon.svg", max_age=3600)


@blueprint.get("/healthz")
def health() -> Any:
    """Tell a supervisor that the page answers, and whether the master reaches its broker and its database."""
    master = context().master
    return flask.jsonify(
        {
            "status": "ok",
            "broker": "connected" if master.link_problem is None else "not connected",
            "database": "written" if master.store_problem is None else "cannot be written",
            "history": "kept" if master.history_problem is None else "not kept",
        }
    )
