"""The API's description, OpenAPI 3.1, made from the views: routes, rights, and what each takes and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import flask
import msgspec
from werkzeug.routing import Rule

from gpumon.roles import Role
from gpumon.version import __version__
from webui.access import Need, need_of
from webui.answers import PROBLEM_JSON, TITLES, Problem
from webui.typed import Signature, signature_of

API = "/api/v1"
_IN_PATH = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
_REF = "#/components/schemas/{name}"

ABOUT = """Everything that the page shows and does, for programs. Show an API token (`gpumon user token NAME`) as
`Authorization: Bearer TOKEN`. Times are seconds since 1970-01-01 UTC; names carry their unit; what is not available is
null, never 0. Answers may grow fields: ignore those that you do not know."""

NEEDS = {
    None: "Anybody may ask.",
    Role.VIEWER: "Everybody with an account may ask.",
    Role.OPERATOR: "For those who may run commands.",
    Role.ADMIN: "For admins.",
}


def describe(app: flask.Flask) -> dict[str, Any]:
    """Return the description of an application's API."""
    found = list(_views(app))
    kinds = _kinds(signature for _, _, signature in found)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for rule, view, signature in found:
        path = _IN_PATH.sub(r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            operation = _operation(rule, view, signature, schema_of, components)
            paths.setdefault(path, {})[method.lower()] = operation
    queries = {signature.query.__name__ for _, _, signature in found if signature.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "gpumon", "version": __version__, "description": ABOUT},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "gpumon",
                    "description": "A log-in on the page; over TLS the cookie is called __Host-gpumon",
                },
            },
        },
    }


def _views(app: flask.Flask) -> Iterator[tuple[Rule, Any, Signature]]:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(API):
            view = app.view_functions[rule.endpoint]
            signature = signature_of(view)
            if signature is not None:
                yield rule, view, signature


def _kinds(signatures: Iterable[Signature]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for signature in signatures:
        for kind in (signature.query, signature.body, signature.answers):
            if kind is not None:
                found[repr(kind)] = kind
    return list(found.values())


def _operation(
    rule: Rule, view: Any, signature: Signature, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    need = need_of(view)
    summary, _, rest = (view.__doc__ or "").strip().partition("\n")
    operation: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": summary,
        "description": " ".join(filter(None, [" ".join(rest.split()), _who(need)])),
        "tags": [rule.endpoint.partition(".")[0].removeprefix("api_")],
        "security": _security(need),
        "parameters": [*_path_parameters(rule), *_query_parameters(signature, components)],
        "responses": _responses(signature, schema_of),
    }
    if signature.body is not None:
        content = {"application/json": {"schema": schema_of[repr(signature.body)]}}
        operation["requestBody"] = {"required": not signature.may_lack_body, "content": content}
    return operation


def _who(need: Need) -> str:
    return NEEDS[need.role] + ("" if need.by_token or need.role is None else " Not with an API token.")


def _security(need: Need) -> list[dict[str, list[str]]]:
    if need.role is None:
        return []
    return [{"token": []}, {"session": []}] if need.by_token else [{"session": []}]


def _path_parameters(rule: Rule) -> Iterator[dict[str, Any]]:
    for name in _IN_PATH.findall(rule.rule):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(signature: Signature, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if signature.query is None:
        return
    schema = components[signature.query.__name__]
    required = schema.get("required", [])
    for name, wanted in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in required, "schema": _as_text(wanted)}


def _as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an argument, which is either there or not: never null, as one in JSON may be."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if not options:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**rest, **options[0]} if len(options) == 1 else {**rest, "anyOf": options}


def _responses(signature: Signature, schema_of: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of[repr(signature.answers)] if signature.answers is not None else {"type": "string"}
    done = {"description": "As asked", "content": {signature.media: {"schema": schema}}}
    problem = {PROBLEM_JSON: {"schema": schema_of[repr(Problem)]}}
    wrong = {str(status): {"description": title, "content": problem} for status, title in TITLES.items()}
    return {str(signature.status): done, **wrong}
