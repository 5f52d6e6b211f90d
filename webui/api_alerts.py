"""The API's alerts: what fires and what fired, who has seen it, and the commands that an alert offers."""

from __future__ import annotations

import time
from typing import Annotated

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import NotFound

from gpumon.commands import MAX_COMMAND_BYTES
from gpumon.roles import Role
from master.alerts.records import Action, Alert, Severity
from master.commands import CommandError, NotAllowedError
from webui.access import needs
from webui.alert_view import AlertCount, AlertView, alert_views, counts_of, place_of
from webui.api_commands import Sent, caller
from webui.context import context
from webui.guard import visitor
from webui.typed import typed

blueprint = flask.Blueprint("api_alerts", __name__, url_prefix="/api/v1/alerts")

MOST_LISTED = 500
MOST_NOTED = 500  # characters

Note = Annotated[str, Meta(max_length=MOST_NOTED)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class AcknowledgeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say that one has seen an alert, with what others should know."""

    note: Note = ""


class AcknowledgeAllRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say that one has seen all that fires by a rule, on those workers on which one may run commands."""

    rule: Name
    note: Note = ""


class ActionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run a command that an alert offers, by its name; `command` is how it was shown to whoever has agreed to it."""

    name: Name
    command: Annotated[str, Meta(min_length=1, max_length=MAX_COMMAND_BYTES)]


class FilterQuery(msgspec.Struct, frozen=True):
    """Which alerts: by this rule, on this worker or card, of this severity; up to `limit`."""

    rule: str = ""
    worker: str = ""
    gpu: str = ""
    severity: Severity | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 100


class FiringQuery(FilterQuery, frozen=True):
    """The same, those after the alert of this id."""

    after: str = ""


class PastQuery(FilterQuery, frozen=True):
    """The same, those before the alert of this id."""

    before: str = ""


class Firing(msgspec.Struct, frozen=True):
    """What fires, gravest first, and how many in all; `next` is the `after` of the next page, None on the last."""

    time: float
    total: int
    counts: dict[str, AlertCount]
    alerts: list[AlertView]
    next: str | None


class Past(msgspec.Struct, frozen=True):
    """What has ended, the latest first; `next` is the `before` of the next page, None on the last."""

    time: float
    alerts: list[AlertView]
    next: str | None


class Acknowledged(msgspec.Struct, frozen=True):
    """How many alerts were acknowledged."""

    acknowledged: int


class Actions(msgspec.Struct, frozen=True):
    """The commands that an alert offers."""

    time: float
    actions: list[Action]


@blueprint.get("")
@needs(Role.VIEWER)
@typed()
def firing(query: FiringQuery) -> Firing:
    """Return what fires, gravest first."""
    desk = context().master.alerts
    found = [alert for alert in sorted(desk.active(), key=place_of) if _matches(alert, query)]
    last = desk.alert(query.after) if query.after else None
    rest = found if last is None else [alert for alert in found if place_of(alert) > place_of(last)]
    shown = rest[: query.limit]
    more = shown[-1].id if len(rest) > len(shown) else None
    return Firing(time.time(), len(found), counts_of(found), _views(shown), more)


@blueprint.get("/past")
@needs(Role.VIEWER)
@typed()
def past(query: PastQuery) -> Past:
    """Return what has ended, the latest first."""
    found = context().master.alerts.past(
        query.limit + 1,
        query.before or None,
        rule=query.rule or None,
        worker_id=query.worker or None,
        gpu=query.gpu or None,
        severity=query.severity,
    )
    shown = found[: query.limit]
    return Past(time.time(), _views(shown), shown[-1].id if len(found) > query.limit else None)


@blueprint.get("/<alert_id>")
@needs(Role.VIEWER)
@typed()
def alert(alert_id: str) -> AlertView:
    """Return one alert, which fires or has ended."""
    return _view(_known(alert_id))


@blueprint.post("/<alert_id>/acknowledge")
@needs(Role.OPERATOR)
@typed()
def acknowledge(alert_id: str, body: AcknowledgeRequest | None) -> AlertView:
    """Say that one has seen it."""
    _check_may_command(_known(alert_id))
    note = body.note if body is not None else ""
    return _view(context().master.alerts.acknowledge(alert_id, visitor().actor, note))


@blueprint.post("/<alert_id>/unacknowledge")
@needs(Role.OPERATOR)
@typed()
def unacknowledge(alert_id: str) -> AlertView:
    """Take it back."""
    _check_may_command(_known(alert_id))
    context().master.alerts.unacknowledge(alert_id, visitor().actor)
    return _view(_known(alert_id))


@blueprint.post("/acknowledge")
@needs(Role.OPERATOR)
@typed()
def acknowledge_all(body: AcknowledgeAllRequest) -> Acknowledged:
    """Say that one has seen all that fires by a rule."""
    desk, actor = context().master.alerts, visitor().actor
    mine = [
        each for each in desk.active() if each.rule == body.rule and each.acknowledged_by is None and _may_command(each)
    ]
    for each in mine:
        desk.acknowledge(each.id, actor, body.note)
    return Acknowledged(len(mine))


@blueprint.get("/<alert_id>/actions")
@needs(Role.VIEWER)
@typed()
def actions(alert_id: str) -> Actions:
    """Return the commands that it offers, for the processes that are there now."""
    _known(alert_id)
    return Actions(time.time(), context().master.alerts.actions(alert_id))


@blueprint.post("/<alert_id>/actions")
@needs(Role.OPERATOR)
@typed(status=201)
def act(alert_id: str, body: ActionRequest) -> Sent:
    """Run one of them as the command desk runs any; refused where it would be another by now."""
    _known(alert_id)
    page = context()
    offered = {each.name: each for each in page.master.alerts.actions(alert_id)}
    action = offered.get(body.name)
    if action is None:
        raise CommandError(f"this alert offers no {body.name!r} now: it offers {', '.join(offered) or 'nothing'}")
    if action.command is None:
        raise CommandError(f"{action.name!r} cannot be run now: {action.problem}")
    if action.command != body.command:
        raise CommandError("what runs there has changed meanwhile, and with it this command: look at it again")
    record = page.master.commands.run(action.command, [action.worker_id], caller(visitor()))
    return Sent(record.id, [target.worker_id for target in record.targets])


def _matches(alert: Alert, query: FilterQuery) -> bool:
    return (
        query.rule in ("", alert.rule)
        and query.worker in ("", alert.worker_id)
        and query.gpu in ("", alert.gpu)
        and query.severity in (None, alert.severity)
    )


def _view(alert: Alert) -> AlertView:
    return _views([alert])[0]


def _views(alerts: list[Alert]) -> list[AlertView]:
    master = context().master
    return alert_views(alerts, master.alerts, master.fleet)


def _known(alert_id: str) -> Alert:
    found = context().master.alerts.alert(alert_id)
    if found is None:
        raise NotFound("No alert of that id is known: those that ended long ago are forgotten.")
    return found


def _may_command(alert: Alert) -> bool:
    worker = context().master.fleet.worker(alert.worker_id)
    labels = worker.info.labels if worker is not None and worker.info is not None else alert.labels
    return visitor().principal.may_command(labels)


def _check_may_command(alert: Alert) -> None:
    if not _may_command(alert):
        raise NotAllowedError(
            f"{visitor().principal.name} may acknowledge alerts of the workers on which they may run commands; "
            f"{alert.worker_id} is none of them"
        )
