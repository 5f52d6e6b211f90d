"""The API of the audit, for admins: a page of it to read, all of it to keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask

from gpumon.roles import Role
from master.audit_reader import AuditFilter, as_csv, as_json_lines
from webui.access import needs
from webui.answers import answer
from webui.context import context

blueprint = flask.Blueprint("api_audit", __name__, url_prefix="/api/v1")

MOST_LISTED = 500


@blueprint.get("/audit")
@needs(Role.ADMIN)
def audit() -> Any:
    """Return entries, newest first: `?who=`, `?action=`, `?worker=`, `?since=`, `?until=`, `?before=`, `?limit=`."""
    arguments = flask.request.args
    limit = min(max(arguments.get("limit", 100, int), 1), MOST_LISTED)
    before = arguments.get("before", None, _row_number)
    return answer({"entries": context().master.audit_reader.page(_filter(), limit, before)})


@blueprint.get("/audit.csv")
@needs(Role.ADMIN)
def audit_csv() -> Any:
    """Return all of it as CSV, oldest first, with the same filters."""
    return _file(as_csv(context().master.audit_reader.all(_filter())), "text/csv", "gpumon-audit.csv")


@blueprint.get("/audit.jsonl")
@needs(Role.ADMIN)
def audit_jsonl() -> Any:
    """Return all of it as JSON lines, oldest first, with the same filters."""
    lines = as_json_lines(context().master.audit_reader.all(_filter()))
    return _file(lines, "application/jsonl", "gpumon-audit.jsonl")


def _row_number(text: str) -> int:
    return min(max(int(text), 0), 2**63 - 1)


def _filter() -> AuditFilter:
    arguments = flask.request.args
    return AuditFilter(
        who=arguments.get("who") or None,
        action=arguments.get("action") or None,
        worker=arguments.get("worker") or None,
        since=arguments.get("since", None, float),
        until=arguments.get("until", None, float),
    )


def _file(lines: Iterator[str], kind: str, name: str) -> flask.Response:
    response = flask.Response(lines, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
