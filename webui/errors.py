"""What is answered when something is wrong: JSON to programs, a simple page to people, and nothing of the inside."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import flask
import flask_wtf.csrf
from werkzeug.exceptions import HTTPException

from gpumon.errors import GpumonError
from webui import auth
from webui.answers import PROBLEMS, TITLES, problem, status_and_text
from webui.context import context
from webui.guard import API, METRICS

TEXTS = {
    404: "There is no page at this address.",
    405: "This address does not take that kind of request.",
    413: "The request is larger than what is taken here.",
    500: "The page could not answer this. What happened stands in the master's log.",
}


def register(app: flask.Flask) -> None:
    """Answer all errors of this application."""
    app.register_error_handler(flask_wtf.csrf.CSRFError, _forged)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(GpumonError, _told)


def _forged(_error: flask_wtf.csrf.CSRFError) -> Any:
    if flask.request.endpoint == "auth.log_in":
        return auth.form("The form had expired. Please try again.", 400)
    return _answer(400, "The form had expired: load the page again.")


def _http_error(error: HTTPException) -> Any:
    status = error.code or 500
    if error.response is not None:  # a redirect that werkzeug makes
        return error.response
    is_own = error.description != type(error).description  # and not werkzeug's words for every such error
    text = error.description if is_own else TEXTS.get(status, error.description)
    return _answer(status, text or "", error)


def _told(error: GpumonError) -> Any:
    return _answer(*status_and_text(error), see=error.more)


def _answer(status: int, text: str, error: HTTPException | None = None, see: str = PROBLEMS) -> flask.Response:
    if flask.request.path.startswith(API):
        response = problem(status, text, see)
    elif flask.request.path == METRICS:  # a scraper shows this line to people
        response = flask.Response(f"{text}\n", status, mimetype="text/plain")
        if status == HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="gpumon"'
    else:
        title = TITLES.get(status, "That did not work")
        page = flask.render_template("error.html", title=title, text=text, version=context().static_version)
        response = flask.make_response(page, status)
    for name, value in error.get_headers() if error is not None else ():
        if name in {"Allow", "Retry-After"}:
            response.headers[name] = value
    return response
