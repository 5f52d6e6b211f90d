"""Answers of the API, the JSON that comes with a request, and what is said of an error."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import TypeVar

import flask
import msgspec
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from gpumon.errors import DOCS, GpumonError
from master.commands import CannotSendError, NotAllowedError
from master.dynamic_security import DynamicSecurityError
from master.peers.questions import NoAnswerError
from master.store.engine import StoreError
from webui.throttle import BusyError

logger = logging.getLogger(__name__)

T = TypeVar("T")
# What may go well in a moment.
NOT_NOW = (CannotSendError, BusyError, DynamicSecurityError, NoAnswerError)

TITLES = {
    400: "That cannot be used",
    401: "Log in first",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not this way",
    413: "Too large",
    414: "Too long an address",
    415: "Not this kind",
    421: "Not under this name",
    422: "That cannot be done",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "Not now",
}

PROBLEM_JSON = "application/problem+json"
PROBLEMS = f"{DOCS}api.md#problems"
_EXACT_INTEGERS = 2**53  # below this, a double is exact
MAX_JSON_BYTES = 64 * 1024  # what the front takes


def answer(value: object, status: int = 200) -> flask.Response:
    """Return a value as JSON."""
    return flask.Response(msgspec.json.encode(value), status, mimetype="application/json")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a request (RFC 9457), and the section of the documents that says more (`see`).

    `error` is `detail` once more, for programs of before.
    """

    type: str
    title: str
    status: int
    detail: str
    error: str
    see: str


def problem(status: int, detail: str, see: str = PROBLEMS) -> flask.Response:
    """Return what is wrong, in words, as application/problem+json."""
    return flask.Response(problem_json(status, detail, see), status, mimetype=PROBLEM_JSON)


def problem_json(status: int, detail: str, see: str = PROBLEMS) -> bytes:
    """Return the body of such an answer."""
    title = TITLES.get(status) or HTTPStatus(status).phrase
    return msgspec.json.encode(Problem("about:blank", title, status, detail, detail, see))


def asked(kind: type[T]) -> T:
    """Return what the request's JSON asks for. Raises BadRequest, UnsupportedMediaType: with what is wrong."""
    request = flask.request
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
    request.max_content_length = MAX_JSON_BYTES
    try:
        return msgspec.convert(_JSON.decode(request.get_data(cache=False)), kind)
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's are ValueErrors
        raise BadRequest(f"The body cannot be used: {error}") from error


def _number(text: str) -> int | float:
    """Return a number with a point or exponent; 2.0 is an integer as well as 2 (JSON Schema 2020-12, section 4.2.3)."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:30]} is out of range")
    return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else value


_JSON = msgspec.json.Decoder(float_hook=_number)


def status_and_text(error: GpumonError) -> tuple[int, str]:
    """Return the status and the words for what cannot be done; where the database does not answer, without its path.

    It is well-formed and fits the API's description, or it would have been answered with 400 already: so it is 422
    (RFC 9110 section 15.5.21).
    """
    if isinstance(error.__cause__, StoreError) or isinstance(error, StoreError):
        logger.warning("a request could not be answered: %s", error)
        nothing = "nothing was sent, since the audit cannot be written: " if isinstance(error, CannotSendError) else ""
        return 503, f"{nothing}the master's database does not answer now, its log says why"
    if isinstance(error, NotAllowedError):
        return 403, str(error)
    return (503 if isinstance(error, NOT_NOW) else 422), str(error)
