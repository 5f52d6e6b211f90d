"""The JSON API, `/api/v1/...`: what the page shows, for programs as well; reading alone."""

from __future__ import annotations

import time
from typing import Any

import flask
import msgspec

from gpumon.address import address_for_agents
from gpumon.errors import GpumonError
from gpumon.messages import Event, Info
from gpumon.roles import Principal
from gpumon.topics import Channel
from gpumon.version import __version__
from master.fleet import Worker
from master.records import CommandRecord, OutputChunk
from webui.command_push import CommandSummary, summary_of
from webui.context import context
from webui.rows import FleetChange, FleetRow, fleet_row
from webui.sessions import MAY_RUN, form_token

blueprint = flask.Blueprint("api", __name__, url_prefix="/api/v1")

MOST_LISTED = 200
MOST_OUTPUTS_AT_ONCE = 50


class TimedEvent(msgspec.Struct, frozen=True):
    """An event with the time at which the master received it."""

    received: float
    event: Event


class WorkerView(msgspec.Struct, frozen=True):
    """Everything about one worker; `metrics` is its last sample as it was published."""

    time: float
    row: FleetRow
    info: Info | None
    metrics: msgspec.Raw | None
    received: float | None
    clock_offset_s: float | None
    rejected_payloads: int
    events: list[TimedEvent]
    commands: list[CommandSummary]
    topics: dict[str, str]


class CommandView(msgspec.Struct, frozen=True):
    """A command with all its targets."""

    time: float
    command: CommandRecord


@blueprint.before_request
def require_log_in() -> Any:
    """Refuse who is not logged in."""
    if context().sessions.principal() is None:
        return _json({"error": "log in first, at /login"}, 401)
    return None


@blueprint.errorhandler(GpumonError)
def told(error: GpumonError) -> Any:
    """Answer what the master cannot do now, in words."""
    return _json({"error": str(error)}, 503)


@blueprint.get("/session")
def session() -> Any:
    """Return who is logged in and what the page needs to know."""
    principal = context().sessions.principal()
    if principal is None:
        return _json({"error": "log in first, at /login"}, 401)
    return _json(session_info(principal))


@blueprint.get("/workers")
def workers() -> Any:
    """Return every worker's row."""
    now = time.time()
    return _json(FleetChange(now, [fleet_row(worker, now) for worker in context().master.fleet.workers()], []))


@blueprint.get("/workers/<worker_id>")
def worker(worker_id: str) -> Any:
    """Return everything about one worker."""
    view = worker_view(worker_id)
    return _json({"error": f"no worker {worker_id!r} is known"}, 404) if view is None else _json(view)


@blueprint.get("/commands")
def commands() -> Any:
    """Return recent commands, newest first: `?limit=`, `?before=` (a time), `?worker=` (an id)."""
    arguments = flask.request.args
    limit = min(max(arguments.get("limit", 50, int), 1), MOST_LISTED)
    before, worker_id = arguments.get("before", None, float), arguments.get("worker")
    records = context().master.commands.recent(limit, before, worker_id)
    return _json({"time": time.time(), "commands": [summary_of(record, worker_id) for record in records]})


@blueprint.get("/commands/<command_id>")
def command(command_id: str) -> Any:
    """Return one command with all its targets."""
    record = context().master.commands.get(command_id)
    if record is None:
        return _json({"error": f"no command {command_id!r} is known"}, 404)
    return _json(CommandView(time.time(), record))


@blueprint.get("/commands/<command_id>/output")
def output(command_id: str) -> Any:
    """Return the output so far of the targets named by `?worker=` (several times for several), by worker."""
    desk = context().master.commands
    record = desk.get(command_id)
    if record is None:
        return _json({"error": f"no command {command_id!r} is known"}, 404)
    asked = flask.request.args.getlist("worker")[:MOST_OUTPUTS_AT_ONCE]
    known = {target.worker_id for target in record.targets}
    chunks: dict[str, list[OutputChunk]] = {name: desk.output(command_id, name) for name in asked if name in known}
    return _json({"time": time.time(), "output": chunks})


@blueprint.get("/commands/<command_id>/output.txt")
def output_text(command_id: str) -> Any:
    """Return the output as text to keep: of one target (`?worker=`), or of all, each under a line with its name."""
    desk = context().master.commands
    record = desk.get(command_id)
    if record is None:
        return _json({"error": f"no command {command_id!r} is known"}, 404)
    asked = flask.request.args.get("worker")
    names = [target.worker_id for target in record.targets if asked in (None, target.worker_id)]

    def parts() -> Any:
        for name in names:
            if asked is None:
                yield f"==> {name} <==\n"
            yield from (chunk.data for chunk in desk.output(command_id, name))
            if asked is None:
                yield "\n"

    file_name = f"{command_id}-{asked}.txt" if asked in names else f"{command_id}.txt"
    response = flask.Response(parts(), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


def session_info(principal: Principal) -> dict[str, Any]:
    """Return who is logged in, what they may do, and the lines that join a worker."""
    page = context()
    mqtt = address_for_agents(page.settings)
    return {
        "user": principal.name,
        "role": principal.role.value,
        "may_run": principal.role in MAY_RUN,
        "csrf": form_token(),
        "time": time.time(),
        "version": __version__,
        "instance": page.master.instance,
        "broker_problem": page.master.link_problem,
        "history_problem": page.master.history_problem,
        "most_viewers": page.most_viewers,
        "join": [
            "gpumon worker add NAME",
            f"gpumon agent --master {mqtt} --worker-id NAME --token-file {page.settings.data}/tokens/NAME.token",
        ],
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
        topics={channel.name.lower(): page.topics.worker(worker_id, channel) for channel in Channel},
    )


def _sample(found: Worker) -> msgspec.Raw | None:
    return msgspec.Raw(found.metrics_payload) if found.metrics_payload is not None else None


def _json(value: object, status: int = 200) -> flask.Response:
    return flask.Response(msgspec.json.encode(value), status, mimetype="application/json")
