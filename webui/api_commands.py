"""The API's commands: what ran, what it wrote, and running and cancelling for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import NotFound

from gpumon.commands import DEFAULT_TIMEOUT_S, MAX_COMMAND_BYTES, MAX_TIMEOUT_S
from gpumon.roles import Role
from master.commands import Caller, CommandError
from master.records import CommandRecord, Origin, OutputChunk
from webui.access import needs
from webui.command_push import CommandSummary, summary_of
from webui.context import context
from webui.guard import visitor
from webui.sessions import Visitor
from webui.typed import Done, typed

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
    timeout_s: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] = DEFAULT_TIMEOUT_S


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a command on these workers, or (None) on all on which one may."""

    workers: WorkerIds | None = None


class CommandView(msgspec.Struct, frozen=True):
    """A command with all its targets."""

    time: float
    command: CommandRecord


class CommandsQuery(msgspec.Struct, frozen=True):
    """Which commands: up to `limit`, created before `before`, on this worker, with `q` in the text or author's name."""

    limit: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 50
    before: float | None = None
    worker: Annotated[str, Meta(max_length=63)] | None = None
    q: Annotated[str, Meta(max_length=MOST_SEARCHED)] = ""


class CommandsPage(msgspec.Struct, frozen=True):
    """Commands, newest first; `next` is the `before` of the next page, None on the last."""

    time: float
    commands: list[CommandSummary]
    next: float | None


class Sent(msgspec.Struct, frozen=True):
    """A command that was sent, and the workers it went to."""

    id: str
    workers: list[str]


class OutputQuery(msgspec.Struct, frozen=True):
    """Whose output; the argument may be given several times."""

    worker: Annotated[list[str], Meta(max_length=MOST_OUTPUTS_AT_ONCE)] = []


class Output(msgspec.Struct, frozen=True):
    """What was written so far, by worker."""

    time: float
    output: dict[str, list[OutputChunk]]


class OutputFileQuery(msgspec.Struct, frozen=True):
    """Whose output; of all where nobody is named."""

    worker: str | None = None


@blueprint.get("")
@needs(Role.VIEWER)
@typed()
def commands(query: CommandsQuery) -> CommandsPage:
    """Return recent commands, newest first."""
    records = context().master.commands.recent(query.limit, query.before, query.worker, query.q or None)
    more = records[-1].created if len(records) == query.limit else None
    return CommandsPage(time.time(), [summary_of(record, query.worker) for record in records], more)


@blueprint.post("")
@needs(Role.OPERATOR)
@typed(status=201)
def run(body: RunRequest) -> Sent:
    """Run a command on workers."""
    record = run_as(visitor(), body)
    return Sent(record.id, [target.worker_id for target in record.targets])


@blueprint.get("/<command_id>")
@needs(Role.VIEWER)
@typed()
def command(command_id: str) -> CommandView:
    """Return one command with all its targets."""
    return CommandView(time.time(), _known(command_id))


@blueprint.post("/<command_id>/cancel")
@needs(Role.OPERATOR)
@typed()
def cancel(command_id: str, body: CancelRequest | None) -> Done:
    """End a command, on some workers or on all."""
    _known(command_id)
    context().master.commands.cancel(command_id, caller(visitor()), body.workers if body is not None else None)
    return Done()


@blueprint.get("/<command_id>/output")
@needs(Role.VIEWER)
@typed()
def output(command_id: str, query: OutputQuery) -> Output:
    """Return the output so far of the named targets."""
    desk = context().master.commands
    known = {target.worker_id for target in _known(command_id).targets}
    return Output(time.time(), {name: desk.output(command_id, name) for name in query.worker if name in known})


@blueprint.get("/<command_id>/output.txt")
@needs(Role.VIEWER)
@typed(media="text/plain")
def output_text(command_id: str, query: OutputFileQuery) -> flask.Response:
    """Return the output as text to keep: of one target, or of all, each under a line with its name."""
    desk = context().master.commands
    record = _known(command_id)
    wanted = query.worker
    names = [target.worker_id for target in record.targets if wanted in (None, target.worker_id)]

    def parts() -> Iterator[str]:
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
        raise NotFound(f"no command {command_id!r} is known")
    return record
