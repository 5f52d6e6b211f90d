"""The API of the audit, for admins: a page of it to read, all of it to keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Role
from master.audit_reader import AuditEntry, AuditFilter, as_csv, as_json_lines
from webui.access import needs
from webui.context import context
from webui.typed import typed

blueprint = flask.Blueprint("api_audit", __name__, url_prefix="/api/v1")

MOST_LISTED = 500


class FilterQuery(msgspec.Struct, frozen=True):
    """Which entries: of whom, what they did (`login` also finds `login.failed`), where, and when."""

    who: str = ""
    action: str = ""
    worker: str = ""
    since: float | None = None
    until: float | None = None


class AuditQuery(FilterQuery, frozen=True):
    """The same, up to `limit`, with a `seq` below `before`."""

    limit: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 100
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first; `next` is the `before` of the next page, None on the last."""

    entries: list[AuditEntry]
    next: int | None


@blueprint.get("/audit")
@needs(Role.ADMIN)
@typed()
def audit(query: AuditQuery) -> AuditPage:
    """Return who did what, newest first."""
    entries = context().master.audit_reader.page(_filter(query), query.limit, query.before)
    return AuditPage(entries, entries[-1].seq if len(entries) == query.limit else None)


@blueprint.get("/audit.csv")
@needs(Role.ADMIN)
@typed(media="text/csv")
def audit_csv(query: FilterQuery) -> flask.Response:
    """Return all of it as CSV, oldest first, with the same filters."""
    return _file(as_csv(context().master.audit_reader.all(_filter(query))), "text/csv", "gpumon-audit.csv")


@blueprint.get("/audit.jsonl")
@needs(Role.ADMIN)
@typed(media="application/jsonl")
def audit_jsonl(query: FilterQuery) -> flask.Response:
    """Return all of it as JSON lines, oldest first, with the same filters."""
    lines = as_json_lines(context().master.audit_reader.all(_filter(query)))
    return _file(lines, "application/jsonl", "gpumon-audit.jsonl")


def _filter(query: FilterQuery) -> AuditFilter:
    return AuditFilter(query.who or None, query.action or None, query.worker or None, query.since, query.until)


def _file(lines: Iterator[str], kind: str, name: str) -> flask.Response:
    response = flask.Response(lines, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
