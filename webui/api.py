"""The JSON API, `/api/v1/...`: who one is, and the workers; for the page and for programs with an API token alike."""

from __future__ import annotations

import time
from typing import Any

import flask
import msgspec
from flask_wtf.csrf import generate_csrf

from gpumon.messages import Event, Info
from gpumon.roles import Role
from gpumon.topics import Channel
from gpumon.version import __version__
from master.fleet import Worker
from webui.access import needs
from webui.alert_view import AlertView, alert_views
from webui.answers import answer
from webui.command_push import CommandSummary, summary_of
from webui.context import context
from webui.guard import visitor
from webui.rows import FleetChange, FleetRow, fleet_row
from webui.sessions import Visitor

blueprint = flask.Blueprint("api", __name__, url_prefix="/api/v1")


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


@blueprint.get("/session")
@needs(Role.VIEWER)
def session() -> Any:
    """Return who is logged in and what the page needs to know."""
    return answer(session_info(visitor()))


@blueprint.get("/workers")
@needs(Role.VIEWER)
def workers() -> Any:
    """Return every worker's row."""
    now = time.time()
    return answer(FleetChange(now, [fleet_row(worker, now) for worker in context().master.fleet.workers()], []))


@blueprint.get("/workers/<worker_id>")
@needs(Role.VIEWER)
def worker(worker_id: str) -> Any:
    """Return everything about one worker."""
    view = worker_view(worker_id)
    return answer({"error": f"no worker {worker_id!r} is known"}, 404) if view is None else answer(view)


def session_info(who: Visitor) -> dict[str, Any]:
    """Return who this is, and what they may do."""
    page = context()
    principal = who.principal
    return {
        "user": principal.name,
        "role": principal.role.value,
        "may_run": principal.may_command_some,
        "commands_on": None if principal.may_command_all else dict(principal.commands_on or ()),
        "csrf": None if who.by_token else generate_csrf(),
        "time": time.time(),
        "version": __version__,
        "instance": page.master.instance,
        "broker_problem": page.master.link_problem,
        "history_problem": page.master.history_problem,
        "most_viewers": page.most_viewers,
        "confirm_above": page.settings.page.confirm_above,
    }


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
