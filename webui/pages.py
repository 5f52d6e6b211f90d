"""The HTML shell that every view of the page starts from, its static files, and the health check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask
import msgspec

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from webui.access import needs, open_to_all
from webui.api import session_info
from webui.context import context
from webui.guard import visitor

blueprint = flask.Blueprint("pages", __name__)

A_YEAR_S = 365 * 24 * 3600


@blueprint.get("/")
@blueprint.get("/commands")
@blueprint.get("/account")
@blueprint.get("/usage")
@blueprint.get("/alerts")
@blueprint.get("/alerts/<path:_name>")
@blueprint.get("/workers/<path:_name>")
@blueprint.get("/commands/<path:_name>")
@needs(Role.VIEWER, by_token=False)
def shell(_name: str = "") -> Any:
    """Return the shell; which view it shows is decided by the address in the browser."""
    page = context()
    return flask.render_template(
        "shell.html",
        session=msgspec.json.encode(session_info(visitor())).decode(),
        version=page.static_version,
        modules=page.modules,
    )


@blueprint.get("/users")
@blueprint.get("/audit")
@needs(Role.ADMIN, by_token=False)
def admin_shell() -> Any:
    """Return the shell for views that are for admins alone."""
    return shell()


@blueprint.get("/static/<version>/<path:name>")
@open_to_all
def static_file(version: str, name: str) -> Any:
    """Return a static file; its address carries a version, so a browser may keep it for good."""
    kept_s = A_YEAR_S if version == context().static_version else 0
    return flask.send_from_directory(flask.current_app.root_path + "/static", name, max_age=kept_s)


@blueprint.get("/favicon.ico")
@open_to_all
def favicon() -> Any:
    """Return the icon to browsers that ask for it by its old name."""
    return flask.send_from_directory(flask.current_app.root_path + "/static", "icon.svg", max_age=3600)


@blueprint.get("/ca.crt")
@open_to_all
def authority() -> Any:
    """Return the certificate of gpumon's own authority, which is public; who takes it compares its fingerprint."""
    settings = context().settings
    path = DataFolder(Path(settings.data)).authority.resolve()
    if settings.tls.cert is not None or not path.is_file():
        flask.abort(404, "this page shows no certificate of an authority of its own")
    return flask.send_file(
        path, mimetype="application/x-x509-ca-cert", as_attachment=True, download_name="gpumon-ca.crt", max_age=0
    )


@blueprint.get("/healthz")
@open_to_all
def health() -> Any:
    """Tell a supervisor that the page answers, and whether the master reaches its broker and its database."""
    master = context().master
    told: dict[str, Any] = {
        "status": "ok",
        "broker": "connected" if master.link_problem is None else "not connected",
        "database": "written" if master.store_problem is None else "cannot be written",
        "history": "kept" if master.history_problem is None else "not kept",
    }
    if master.peers is not None:
        told["masters"] = {"online": len(master.peers.members), "problem": master.peers_problem and "see the log"}
    return flask.jsonify(told)
