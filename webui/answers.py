"""Answers of the API, the JSON that comes with a request, and what is said of an error."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TypeVar

import flask
import msgspec
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from gpumon.errors import GpumonError
from master.commands import CannotSendError, NotAllowedError
from master.dynamic_security import DynamicSecurityError
from master.peers.questions import NoAnswerError
from master.store.engine import StoreError
from webui.throttle import BusyError

logger = logging.getLogger(__name__)

T = TypeVar("T")

TITLES = {
    400: "That cannot be used",
    401: "Log in first",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not this way",
    413: "Too large",
    415: "Not this kind",
    421: "Not under this name",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "Not now",
}

MAX_JSON_BYTES = 64 * 1024  # what the front takes


def answer(value: object, status: int = 200) -> flask.Response:
    """Return a value as JSON."""
    return flask.Response(msgspec.json.encode(value), status, mimetype="application/json")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a request (RFC 9457); `error` is `detail` once more, for programs of before."""

    type: str
    title: str
    status: int
    detail: str
    error: str


def problem(status: int, detail: str) -> flask.Response:
    """Return what is wrong, in words, as application/problem+json."""
    title = TITLES.get(status) or HTTPStatus(status).phrase
    told = Problem("about:blank", title, status, detail, detail)
    return flask.Response(msgspec.json.encode(told), status, mimetype="application/problem+json")


def asked(kind: type[T]) -> T:
    """Return what the request's JSON asks for. Raises BadRequest, UnsupportedMediaType: with what is wrong."""
    request = flask.request
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
    request.max_content_length = MAX_JSON_BYTES
    try:
        return msgspec.json.decode(request.get_data(cache=False), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body cannot be used: {error}") from error


def status_and_text(error: GpumonError) -> tuple[int, str]:
    """Return the status and the words for what cannot be done; where the database does not answer, without its path."""
    if isinstance(error.__cause__, StoreError) or isinstance(error, StoreError):
        logger.warning("a request could not be answered: %s", error)
        nothing = "nothing was sent, since the audit cannot be written: " if isinstance(error, CannotSendError) else ""
        return 503, f"{nothing}the master's database does not answer now, its log says why"
    if isinstance(error, NotAllowedError):
        return 403, str(error)
    return (503 if isinstance(error, CannotSendError | BusyError | DynamicSecurityError | NoAnswerError) else 400), str(
        error
    )
