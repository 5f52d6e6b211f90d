"""The API's commands: what ran, what it wrote, and running and cancelling for programs."""

from __future__ import annotations

import time
from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta

from gpumon.commands import DEFAULT_TIMEOUT_S, MAX_COMMAND_BYTES
from gpumon.roles import Role
from master.commands import Caller, CommandError
from master.records import CommandRecord, Origin, OutputChunk
from webui.access import needs
from webui.answers import answer, asked
from webui.command_push import summary_of
from webui.context import context
from webui.guard import visitor
from webui.sessions import Visitor

blueprint = flask.Blueprint("api_commands", __name__, url_prefix="/api/v1/commands")

MOST_LISTED = 200
MOST_SEARCHED = 200  # characters
MOST_OUTPUTS_AT_ONCE = 50
MOST_WORKERS_AT_ONCE = 10_000

WorkerId = Annotated[str, Meta(min_length=1, max_length=63)]
WorkerIds = Annotated[list[WorkerId], Meta(max_length=MOST_WORKERS_AT_ONCE)]


class RunRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run `command` on these workers, or on all that are not offline: with these labels, or all there are.

    Of `workers`, `labels` and `all` one is given. The last two leave out workers on which one may run nothing.
    """

    command: Annotated[str, Meta(min_length=1, max_length=MAX_COMMAND_BYTES)]
    workers: WorkerIds | None = None
    labels: Annotated[dict[str, str], Meta(min_length=1, max_length=16)] | None = None
    all: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a command on these workers, or (None) on all on which one may."""

    workers: WorkerIds | None = None


class CommandView(msgspec.Struct, frozen=True):
    """A command with all its targets."""

    time: float
    command: CommandRecord


@blueprint.get("")
@needs(Role.VIEWER)
def commands() -> Any:
    """Return recent commands, newest first: `?limit=`, `?before=` (a time), `?worker=` (an id), `?q=` (text)."""
    arguments = flask.request.args
    limit = min(max(arguments.get("limit", 50, int), 1), MOST_LISTED)
    before, worker_id = arguments.get("before", None, float), arguments.get("worker")
    text = arguments.get("q", "")[:MOST_SEARCHED] or None
    records = context().master.commands.recent(limit, before, worker_id, text)
    return answer({"time": time.time(), "commands": [summary_of(record, worker_id) for record in records]})


@blueprint.post("")
@needs(Role.OPERATOR)
def run() -> Any:
    """Run a command; answer its id and the workers it went to."""
    record = run_as(visitor(), asked(RunRequest))
    return answer({"id": record.id, "workers": [target.worker_id for target in record.targets]}, 201)


@blueprint.get("/<command_id>")
@needs(Role.VIEWER)
def command(command_id: str) -> Any:
    """Return one command with all its targets."""
    return answer(CommandView(time.time(), _known(command_id)))


@blueprint.post("/<command_id>/cancel")
@needs(Role.OPERATOR)
def cancel(command_id: str) -> Any:
    """End a command, on some workers or on all."""
    _known(command_id)
    workers = asked(CancelRequest).workers if flask.request.content_length else None
    context().master.commands.cancel(command_id, caller(visitor()), workers)
    return answer({})


@blueprint.get("/<command_id>/output")
@needs(Role.VIEWER)
def output(command_id: str) -> Any:
    """Return the output so far of the targets named by `?worker=` (several times for several), by worker."""
    desk = context().master.commands
    known = {target.worker_id for target in _known(command_id).targets}
    names = flask.request.args.getlist("worker")[:MOST_OUTPUTS_AT_ONCE]
    chunks: dict[str, list[OutputChunk]] = {name: desk.output(command_id, name) for name in names if name in known}
    return answer({"time": time.time(), "output": chunks})


@blueprint.get("/<command_id>/output.txt")
@needs(Role.VIEWER)
def output_text(command_id: str) -> Any:
    """Return the output as text to keep: of one target (`?worker=`), or of all, each under a line with its name."""
    desk = context().master.commands
    record = _known(command_id)
    wanted = flask.request.args.get("worker")
    names = [target.worker_id for target in record.targets if wanted in (None, target.worker_id)]

    def parts() -> Any:
        for name in names:
            if wanted is None:
                yield f"==> {name} <==\n"
            yield from (chunk.data for chunk in desk.output(record.id, name))
            if wanted is None:
                yield "\n"

    file_name = f"{record.id}-{wanted}.txt" if wanted in names else f"{record.id}.txt"
    response = flask.Response(parts(), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return response


def run_as(who: Visitor, request: RunRequest) -> CommandRecord:
    """Run what is asked for; the desk decides where this person may. Raises CommandError."""
    desk = context().master.commands
    if [request.workers is not None, request.labels is not None, request.all].count(True) != 1:
        raise CommandError("say where: give workers, labels or all, one of them")
    workers = request.workers if request.workers is not None else desk.choose(who.principal, request.labels)
    if len(workers) > MOST_WORKERS_AT_ONCE:
        raise CommandError(f"{len(workers)} workers are too many at once: {MOST_WORKERS_AT_ONCE} at most")
    return desk.run(request.command, workers, caller(who), request.timeout_s)


def caller(who: Visitor) -> Caller:
    """Return who this is to the desk."""
    origin: Origin = "api" if who.by_token else "page"
    return Caller(who.principal, origin, who.address)


def _known(command_id: str) -> CommandRecord:
    record = context().master.commands.get(command_id)
    if record is None:
        flask.abort(404)
    return record
