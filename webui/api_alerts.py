"""The API's alerts: what fires and what fired, who has seen it, and the commands that an alert offers."""

from __future__ import annotations

import time
from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta

from gpumon.commands import MAX_COMMAND_BYTES
from gpumon.roles import Role
from master.alerts.records import Alert, Severity
from master.commands import CommandError, NotAllowedError
from webui.access import needs
from webui.alert_view import AlertView, alert_views, counts_of, place_of
from webui.answers import answer, asked
from webui.api_commands import caller
from webui.context import context
from webui.guard import visitor

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


@blueprint.get("")
@needs(Role.VIEWER)
def firing() -> Any:
    """Return what fires, gravest first: `?rule=`, `?worker=`, `?gpu=`, `?severity=`, `?limit=`, `?after=` (an id)."""
    arguments = flask.request.args
    desk = context().master.alerts
    wanted = {name: arguments[key] for key, name in _FILTERS.items() if arguments.get(key)}
    severity = _severity()
    found = [alert for alert in sorted(desk.active(), key=place_of) if _matches(alert, wanted, severity)]
    last = desk.alert(arguments["after"]) if arguments.get("after") else None
    rest = found if last is None else [alert for alert in found if place_of(alert) > place_of(last)]
    shown = rest[: _limit()]
    return answer(
        {
            "time": time.time(),
            "total": len(found),
            "counts": counts_of(found),
            "alerts": _views(shown),
            "next": shown[-1].id if len(rest) > len(shown) else None,
        }
    )


@blueprint.get("/past")
@needs(Role.VIEWER)
def past() -> Any:
    """Return what has ended, the latest first: the same filters, `?limit=`, `?before=` (`next` of an answer)."""
    arguments = flask.request.args
    wanted = {name: arguments[key] for key, name in _FILTERS.items() if arguments.get(key)}
    limit = _limit()
    before = arguments.get("before") or None
    found = context().master.alerts.past(limit + 1, before, severity=_severity(), **wanted)
    shown = found[:limit]
    last = shown[-1].id if len(found) > limit else None
    return answer({"time": time.time(), "alerts": _views(shown), "next": last})


@blueprint.get("/<alert_id>")
@needs(Role.VIEWER)
def alert(alert_id: str) -> Any:
    """Return one alert, which fires or has ended."""
    return answer(_views([_known(alert_id)])[0])


@blueprint.post("/<alert_id>/acknowledge")
@needs(Role.OPERATOR)
def acknowledge(alert_id: str) -> Any:
    """Say that one has seen it: `{note}`, or without a body."""
    note = asked(AcknowledgeRequest).note if flask.request.content_length else ""
    _check_may_command(_known(alert_id))
    found = context().master.alerts.acknowledge(alert_id, visitor().actor, note)
    return answer(_views([found])[0])


@blueprint.post("/<alert_id>/unacknowledge")
@needs(Role.OPERATOR)
def unacknowledge(alert_id: str) -> Any:
    """Take it back."""
    _check_may_command(_known(alert_id))
    context().master.alerts.unacknowledge(alert_id, visitor().actor)
    return answer(_views([_known(alert_id)])[0])


@blueprint.post("/acknowledge")
@needs(Role.OPERATOR)
def acknowledge_all() -> Any:
    """Say that one has seen all that fires by a rule: `{rule, note}`; answered with how many those were."""
    request = asked(AcknowledgeAllRequest)
    desk, actor = context().master.alerts, visitor().actor
    mine = [
        each
        for each in desk.active()
        if each.rule == request.rule and each.acknowledged_by is None and _may_command(each)
    ]
    for each in mine:
        desk.acknowledge(each.id, actor, request.note)
    return answer({"acknowledged": len(mine)})


@blueprint.get("/<alert_id>/actions")
@needs(Role.VIEWER)
def actions(alert_id: str) -> Any:
    """Return the commands that it offers, for the processes that are there now."""
    _known(alert_id)
    return answer({"time": time.time(), "actions": context().master.alerts.actions(alert_id)})


@blueprint.post("/<alert_id>/actions")
@needs(Role.OPERATOR)
def act(alert_id: str) -> Any:
    """Run one of them as the command desk runs any: `{name, command}`; refused where it would be another by now."""
    request = asked(ActionRequest)
    _known(alert_id)
    page = context()
    offered = {each.name: each for each in page.master.alerts.actions(alert_id)}
    action = offered.get(request.name)
    if action is None:
        raise CommandError(f"this alert offers no {request.name!r} now: it offers {', '.join(offered) or 'nothing'}")
    if action.command is None:
        raise CommandError(f"{action.name!r} cannot be run now: {action.problem}")
    if action.command != request.command:
        raise CommandError("what runs there has changed meanwhile, and with it this command: look at it again")
    record = page.master.commands.run(action.command, [action.worker_id], caller(visitor()))
    return answer({"id": record.id, "workers": [target.worker_id for target in record.targets]}, 201)


_FILTERS = {"rule": "rule", "worker": "worker_id", "gpu": "gpu"}


def _matches(alert: Alert, wanted: dict[str, str], severity: Severity | None) -> bool:
    return severity in (None, alert.severity) and all(getattr(alert, name) == text for name, text in wanted.items())


def _severity() -> Severity | None:
    text = flask.request.args.get("severity")
    if not text:
        return None
    try:
        return Severity(text)
    except ValueError:
        flask.abort(
            400, f"there is no severity of that name: it is one of {', '.join(each.value for each in Severity)}"
        )


def _limit() -> int:
    return min(max(flask.request.args.get("limit", 100, int), 1), MOST_LISTED)


def _views(alerts: list[Alert]) -> list[AlertView]:
    master = context().master
    return alert_views(alerts, master.alerts, master.fleet)


def _known(alert_id: str) -> Alert:
    found = context().master.alerts.alert(alert_id)
    if found is None:
        flask.abort(404, "No alert of that id is known: those that ended long ago are forgotten.")
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
