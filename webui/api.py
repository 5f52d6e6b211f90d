"""The JSON API, `/api/v1/...`: who one is, and the workers; for the page and for programs with an API token alike."""

from __future__ import annotations

import time
from typing import Annotated

import flask
import msgspec
from flask_wtf.csrf import generate_csrf
from msgspec import Meta
from werkzeug.exceptions import NotFound

from gpumon.messages import Event, Info
from gpumon.roles import Role
from gpumon.topics import Channel
from gpumon.version import __version__
from master.fleet import Worker
from webui.access import needs
from webui.alert_view import AlertView, alert_views
from webui.command_push import CommandSummary, summary_of
from webui.context import context
from webui.guard import visitor
from webui.rows import FleetRow, fleet_row
from webui.sessions import Visitor
from webui.typed import typed

blueprint = flask.Blueprint("api", __name__, url_prefix="/api/v1")

MOST_WORKERS_AT_ONCE = 10_000


class TimedEvent(msgspec.Struct, frozen=True):
    """An event with the time at which the master received it."""

    received: float
    event: Event


class WorkerView(msgspec.Struct, frozen=True):
    """Everything about one worker; `metrics` is its last sample as it was published, `alerts` are those that fire."""

    time: float
    row: FleetRow
    info: Info | None
    metrics: msgspec.Raw | None
    received: float | None
    clock_offset_s: float | None
    rejected_payloads: int
    events: list[TimedEvent]
    commands: list[CommandSummary]
    alerts: list[AlertView]
    topics: dict[str, str]


class SessionInfo(msgspec.Struct, frozen=True):
    """Who asks and what they may do; `commands_on` None: commands everywhere, `csrf` None: asked with an API token."""

    user: str
    role: str
    may_run: bool
    commands_on: dict[str, str] | None
    csrf: str | None
    time: float
    version: str
    instance: str
    broker_problem: str | None
    history_problem: str | None
    masters_problem: str | None
    most_viewers: int
    confirm_above: int


class WorkersQuery(msgspec.Struct, frozen=True):
    """Which workers: up to `limit`, those whose id comes after `after`."""

    limit: Annotated[int, Meta(ge=1, le=MOST_WORKERS_AT_ONCE)] = MOST_WORKERS_AT_ONCE
    after: Annotated[str, Meta(max_length=63)] | None = None


class WorkersPage(msgspec.Struct, frozen=True):
    """Workers by their ids; `next` is the `after` of the next page, None on the last."""

    time: float
    rows: list[FleetRow]
    next: str | None


@blueprint.get("/session")
@needs(Role.VIEWER)
@typed()
def session() -> SessionInfo:
    """Return who asks, and what they may do."""
    return session_info(visitor())


@blueprint.get("/workers")
@needs(Role.VIEWER)
@typed()
def workers(query: WorkersQuery) -> WorkersPage:
    """Return the workers, a row each."""
    now = time.time()
    known = context().master.fleet.workers()
    if query.after is not None:
        known = [worker for worker in known if worker.id > query.after]
    page = known[: query.limit]
    return WorkersPage(
        now, [fleet_row(worker, now) for worker in page], page[-1].id if len(page) < len(known) else None
    )


@blueprint.get("/workers/<worker_id>")
@needs(Role.VIEWER)
@typed()
def worker(worker_id: str) -> WorkerView:
    """Return everything about one worker."""
    view = worker_view(worker_id)
    if view is None:
        raise NotFound(f"no worker {worker_id!r} is known")
    return view


def session_info(who: Visitor) -> SessionInfo:
    """Return who this is, and what they may do."""
    page = context()
    principal = who.principal
    return SessionInfo(
        user=principal.name,
        role=principal.role.value,
        may_run=principal.may_command_some,
        commands_on=None if principal.may_command_all else dict(principal.commands_on or ()),
        csrf=None if who.by_token else generate_csrf(),
        time=time.time(),
        version=__version__,
        instance=page.master.instance,
        broker_problem=page.master.link_problem,
        history_problem=page.master.history_problem,
        masters_problem=page.master.peers_problem,
        most_viewers=page.most_viewers,
        confirm_above=page.settings.page.confirm_above,
    )


def worker_view(worker_id: str) -> WorkerView | None:
    """Return everything about one worker, None where it is not known."""
    page = context()
    now = time.time()
    found = page.master.fleet.worker(worker_id)
    if found is None:
        return None
    records = page.master.commands.recent(20, None, worker_id)
    return WorkerView(
        time=now,
        row=fleet_row(found, now),
        info=found.info,
        metrics=_sample(found),
        received=found.last_seen,
        clock_offset_s=found.clock_offset_s,
        rejected_payloads=found.rejected_payloads,
        events=[TimedEvent(received, event) for received, event in page.master.fleet.events(worker_id)],
        commands=[summary_of(record, worker_id) for record in records],
        alerts=alert_views(
            [alert for alert in page.master.alerts.active() if alert.worker_id == worker_id],
            page.master.alerts,
            page.master.fleet,
        ),
        topics={channel.name.lower(): page.topics.worker(worker_id, channel) for channel in Channel},
    )


def _sample(found: Worker) -> msgspec.Raw | None:
    return msgspec.Raw(found.metrics_payload) if found.metrics_payload is not None else None
