"""Answers of the API, the JSON that comes with a request, and what is said of an error."""

from __future__ import annotations

import logging
from typing import TypeVar

import flask
import msgspec
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from gpumon.errors import GpumonError
from master.commands import CannotSendError, NotAllowedError
from master.store.engine import StoreError
from webui.throttle import BusyError

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_JSON_BYTES = 64 * 1024  # what the front takes


def answer(value: object, status: int = 200) -> flask.Response:
    """Return a value as JSON."""
    return flask.Response(msgspec.json.encode(value), status, mimetype="application/json")


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
    return (503 if isinstance(error, CannotSendError | BusyError) else 400), str(error)
