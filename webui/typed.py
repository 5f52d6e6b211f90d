"""Views of the API that say by their signature what they take and what they answer.

    @blueprint.get("/commands")
    @needs(Role.VIEWER)
    @typed()
    def commands(query: CommandsQuery) -> CommandsPage: ...

`query` is read from the address, `body` from the request's JSON; both are validated against their type, and what does
not fit is answered with 400 and a sentence; what fits and yet cannot be done is the view's to refuse (422, by raising a
GpumonError). What is returned is answered as JSON. webui/openapi.py describes every view
from the same signature, so that the description cannot say anything else than what is done.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import flask
import msgspec
from werkzeug.exceptions import BadRequest

from webui.answers import answer, asked

View = Callable[..., Any]
_ATTRIBUTE = "gpumon_signature"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a view takes and answers; `answers` None: nothing but that it is done, or what is no JSON (`media`)."""

    query: type[msgspec.Struct] | None
    body: Any
    answers: Any
    status: int
    media: str

    @property
    def may_lack_body(self) -> bool:
        """Whether a request needs no body."""
        return type(None) in get_args(self.body)


class Done(msgspec.Struct, frozen=True):
    """That it was done, and nothing else."""


def typed(status: int = 200, media: str = "application/json", answers: Any = None) -> Callable[[View], View]:
    """Read a view's query and body as it declares them, and answer with what it returns under this status.

    A view that makes its response itself (`-> flask.Response`), such as a file, says with `media` what that is, and
    with `answers` which JSON.
    """

    def declare(view: View) -> View:
        signature = _signature(view, status, media, answers)

        @functools.wraps(view)
        def answered(**names: Any) -> flask.Response:
            if signature.query is not None:
                names["query"] = query_as(signature.query)
            if signature.body is not None:
                is_left_out = signature.may_lack_body and not flask.request.content_length
                names["body"] = None if is_left_out else asked(signature.body)
            result = view(**names)
            return result if isinstance(result, flask.Response) else answer(result, signature.status)

        setattr(answered, _ATTRIBUTE, signature)
        return answered

    return declare


def signature_of(view: View) -> Signature | None:
    """Return what a view declares, None where it declares nothing."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Signature) else None


def query_as(kind: type[msgspec.Struct]) -> Any:
    """Return the arguments of the present request. Raises BadRequest: with what is wrong with which of them."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        values = flask.request.args.getlist(field.encode_name)
        if len(values) > 1 and not _is_list(field.type):
            raise BadRequest(f"An argument cannot be used: {field.encode_name} is given {len(values)} times")
        if values:
            given[field.encode_name] = values if _is_list(field.type) else values[0]
    try:
        read = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"An argument cannot be used: {error}{_choices(kind, str(error))}") from error
    for field in msgspec.structs.fields(kind):
        if field.encode_name in given and getattr(read, field.name) is None:  # it was the word null
            raise BadRequest(f"An argument cannot be used: leave {field.encode_name} out instead of giving none")
    return read


def _choices(kind: type[msgspec.Struct], error: str) -> str:
    """Return the words that the argument may be which the error is about, or what it is, where that is said."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if f"`$.{field.encode_name}`" not in error:
            continue
        parts = list(_parts(hints[field.name]))
        told = [part.description for part in parts if isinstance(part, msgspec.Meta) and part.description]
        if told:
            return f" ({told[0]})"
        words = [part for part in parts if isinstance(part, str)]
        for part in parts:
            if isinstance(part, type) and issubclass(part, Enum):
                words += [str(each.value) for each in part]
        return f": one of {', '.join(words)}" if words else ""
    return ""


def _parts(hint: Any) -> Iterator[Any]:
    """Return everything that a type is put together from: of a Literal its words, of what is Annotated its notes."""
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _is_list(kind: Any) -> bool:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(bare) is list


def _signature(view: View, status: int, media: str, told: Any) -> Signature:
    hints = get_type_hints(view, include_extras=True)
    parameters = inspect.signature(view).parameters
    answers = hints.get("return")
    return Signature(
        query=hints["query"] if "query" in parameters else None,
        body=hints["body"] if "body" in parameters else None,
        answers=told if answers is flask.Response else answers,
        status=status,
        media=media,
    )
