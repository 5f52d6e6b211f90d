"""Usage over the JSON API: who has used what, as totals, over time, and as files in CSV and JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import BadRequest, NotFound

from gpumon.roles import Role
from master.usage import amounts
from master.usage.names import NOBODY
from master.usage.query import MODEL, USER, WORKER, By, Figures, Filter, Group, Prices, figures, in_order
from webui.access import needs
from webui.answers import answer
from webui.arguments import csv_line, csv_text, span
from webui.calendar import buckets, time_zone
from webui.context import context
from webui.typed import typed
from webui.usage_views import SeriesGroup, SeriesQuery, UsageGroup, UsageQuery, UsageSeries, UsageTotals

blueprint = flask.Blueprint("api_usage", __name__, url_prefix="/api/v1")

DEFAULT_SPAN_S = 30 * 86_400.0
_HOUR_S = 3600.0
_DAY_S = 86_400.0
# A step of an hour is chosen for ranges up to this.
_BY_HOURS_S = 3 * _DAY_S
ORDERS = {"held": amounts.HELD, "busy": amounts.BUSY, "idle": amounts.IDLE, "energy": amounts.ENERGY}
FIELDS = Figures.__struct_fields__


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    start: float
    end: float
    by: By
    only: Filter

    def told(self) -> dict[str, Any]:
        """Return it as the fields of `UsageAsked`, with what is reckoned with."""
        usage = context().master.usage
        by = f"label:{self.by.label}" if self.by.label else self.by.kind
        return {
            "since": self.start,
            "until": self.end,
            "by": by,
            "user": self.only.user,
            "worker": self.only.worker_id,
            "labels": dict(self.only.labels),
            "prices": usage.prices,
            "hours_from": usage.first_hour(),
            "problem": usage.problem,
        }


@blueprint.get("/usage")
@needs(Role.VIEWER)
@typed()
def usage(query: UsageQuery) -> UsageTotals:
    """Return who has used what."""
    return _totals(_asked(query))


@blueprint.get("/usage.json")
@needs(Role.VIEWER)
@typed(answers=UsageTotals)
def usage_json(query: UsageQuery) -> flask.Response:
    """Return the same as a file to keep."""
    asked = _asked(query)
    return _as_file(answer(_totals(asked)), asked, "json")


@blueprint.get("/usage.csv")
@needs(Role.VIEWER)
@typed(media="text/csv")
def usage_csv(query: UsageQuery) -> flask.Response:
    """Return the same as a table: a line a group; what is not known is empty."""
    asked = _asked(query)
    lines = _lines(asked, _groups(asked), context().master.usage.prices)
    return _as_file(flask.Response(lines, mimetype="text/csv"), asked, "csv")


@blueprint.get("/usage/series")
@needs(Role.VIEWER)
@typed()
def usage_series(query: SeriesQuery) -> UsageSeries:
    """Return the largest groups over time."""
    asked = _asked(query)
    zone = time_zone(query.tz)
    step = query.step or ("hour" if asked.end - asked.start <= _BY_HOURS_S else "day")
    ranges = buckets(asked.start, asked.end, step, zone)
    found = list(context().master.usage.ask_each(ranges, asked.by, asked.only))
    total: dict[str | None, Group] = {}
    for groups in found:
        for name, group in groups.items():
            total.setdefault(name, Group(name)).join(group)
    ordered = in_order(total, ORDERS[query.order])
    # Nobody is no group beside the others: what is free is told apart from what many others have.
    nobody = [name for name in (NOBODY,) if asked.by.kind == USER and name in total]
    groups_of_users = [group.name for group in ordered if group.name not in nobody]
    shown = [*groups_of_users[: query.groups], *nobody]
    told = [SeriesGroup(name=name, **_columns([groups.get(name) or Group(name) for groups in found])) for name in shown]
    rest = set(groups_of_users[query.groups :])
    if rest:
        sums = [Group(None) for _ in found]
        for summed, groups in zip(sums, found, strict=True):
            for name in rest & groups.keys():
                summed.join(groups[name])
        told.append(SeriesGroup(name=None, is_rest=True, of=len(rest), **_columns(sums)))
    times = [start for start, _ in ranges]
    return UsageSeries(**asked.told(), step=step, tz=str(zone), time=times, groups=told)


def _columns(groups: list[Group]) -> dict[str, Any]:
    prices = context().master.usage.prices
    rows = [figures(group, prices) for group in groups]
    return {field: [getattr(row, field) for row in rows] for field in FIELDS}


def _totals(asked: Asked) -> UsageTotals:
    found = _groups(asked)
    usage = context().master.usage
    total = Group(None)
    for group in found:
        total.join(group)
    return UsageTotals(
        **asked.told(),
        label_keys=usage.label_keys(),
        total=figures(total, usage.prices),
        groups=[UsageGroup(name=group.name, **msgspec.structs.asdict(figures(group, usage.prices))) for group in found],
    )


def _groups(asked: Asked) -> list[Group]:
    return in_order(context().master.usage.ask(asked.start, asked.end, asked.by, asked.only))


def _asked(query: UsageQuery) -> Asked:
    now = time.time()
    start, end = span(query.since, query.until, now, DEFAULT_SPAN_S)
    if query.since is None or query.since < 0:  # the last ten minutes are not nothing
        start = start // _HOUR_S * _HOUR_S
    # Nothing is kept of other times, of which there may be thousands of years.
    earliest = now - (context().settings.usage.days + 2) * _DAY_S
    start, end = max(start, min(earliest, end)), max(min(end, now + _DAY_S), start)
    labels = dict(_label(text) for text in query.label)
    worker_id = query.worker or None
    master = context().master
    by = _by(query.by)
    if worker_id is not None and master.fleet.worker(worker_id) is None and worker_id not in master.usage.workers():
        raise NotFound(f"no worker {worker_id[:80]!r} is known")
    return Asked(start, end, by, Filter(query.user or None, worker_id, labels))


def _by(asked: str) -> By:
    kind, sign, label = asked.partition(":")
    if kind == "label" and label:
        return By(kind, label)
    if kind in {USER, WORKER, MODEL} and not sign:
        return By(kind)
    raise BadRequest(f"by must be user, worker, model, or label:KEY, not {asked[:60]!r}")


def _label(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise BadRequest(f"label must be KEY=VALUE, not {text[:60]!r}")
    return key, value


def _lines(asked: Asked, found: list[Group], prices: Prices) -> Iterator[str]:
    yield csv_line([asked.by.label or asked.by.kind, *FIELDS, "currency", "from_utc", "to_utc"])
    ends = [_utc(asked.start), _utc(asked.end)]
    for group in found:
        row = figures(group, prices)
        values = ["" if (value := getattr(row, field)) is None else repr(value) for field in FIELDS]
        yield csv_line([csv_text(group.name or ""), *values, csv_text(prices.currency or ""), *ends])


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")


def _as_file(response: flask.Response, asked: Asked, suffix: str) -> flask.Response:
    by = re.sub(r"[^A-Za-z0-9._-]", "_", asked.by.label or asked.by.kind)[:40]
    name = f"gpumon-usage-by-{by}-{asked.start:.0f}-{asked.end:.0f}.{suffix}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
