"""The API of what alerts are made of: rules, silences, and the channels by which people are told."""

from __future__ import annotations

import time
from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Role
from master.alerts.errors import RuleError
from master.alerts.kinds import KINDS, THROTTLE_REASONS, KindFacts
from master.alerts.rule_parsing import parse_rule, rule_fields
from master.alerts.rules import Rule, RuleView
from master.commands import NotAllowedError
from webui.access import needs
from webui.answers import answer, asked
from webui.context import context
from webui.guard import visitor
from webui.rule_words import rule_words

blueprint = flask.Blueprint("api_alert_rules", __name__, url_prefix="/api/v1/alerts")

Text = Annotated[str, Meta(min_length=1, max_length=128)]
Labels = Annotated[dict[str, Text], Meta(max_length=16)]


class ShownRule(msgspec.Struct, frozen=True):
    """A rule with what it looks for in words and as fields, None where it cannot be used; `problem` says why."""

    name: str
    origin: str
    problem: str | None
    changed: float | None
    changed_by: str | None
    can_be_reset: bool
    words: str | None
    fields: dict[str, Any] | None


class SilenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Silence what matches all that is given, until `until` (seconds since 1970)."""

    until: float
    reason: Annotated[str, Meta(max_length=500)] = ""
    rule: Text | None = None
    worker_id: Text | None = None
    gpu: Text | None = None
    labels: Labels = {}


class CheckRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tell whether a rule of this name could be these fields."""

    name: Annotated[str, Meta(max_length=128)]
    fields: dict[str, Any]


@blueprint.get("/rules")
@needs(Role.VIEWER)
def rules() -> Any:
    """Return the rules, and what a rule of each kind may hold."""
    views = [_shown(view) for view in context().master.alerts.rules()]
    kinds = {kind.value: facts for kind, facts in KINDS.items()}
    return answer({"time": time.time(), "rules": views, "kinds": _kinds(kinds), "reasons": THROTTLE_REASONS})


@blueprint.put("/rules/<name>")
@needs(Role.ADMIN)
def put_rule(name: str) -> Any:
    """Make or change a rule: its fields as in `gpumon.toml`; what is not given stays as it is."""
    desk = context().master.alerts
    rule = parse_rule(name, asked(dict), _present(name))
    desk.put_rule(rule, visitor().actor)
    return answer({"name": rule.name, "words": rule_words(rule)})


@blueprint.delete("/rules/<name>")
@needs(Role.ADMIN)
def delete_rule(name: str) -> Any:
    """Take back what was changed here: the rule is as the settings have it, or built in, or gone."""
    context().master.alerts.delete_rule(name, visitor().actor)
    return answer({})


@blueprint.post("/rules/check")
@needs(Role.ADMIN)
def check_rule() -> Any:
    """Return what a rule would say in words, or what is wrong with it, without making it: `{name, fields}`."""
    request = asked(CheckRequest)
    try:
        rule = parse_rule(request.name, request.fields, _present(request.name))
    except RuleError as error:
        return answer({"words": None, "problem": str(error)})
    return answer({"words": rule_words(rule), "problem": None})


@blueprint.get("/silences")
@needs(Role.VIEWER)
def silences() -> Any:
    """Return the silences that hold."""
    return answer({"time": time.time(), "silences": context().master.alerts.silences()})


@blueprint.post("/silences")
@needs(Role.OPERATOR)
def silence() -> Any:
    """Silence something; answered with the silence."""
    request = asked(SilenceRequest)
    _check_may_silence(request.worker_id, request.labels)
    made = context().master.alerts.silence(
        until=request.until,
        reason=request.reason,
        by=visitor().actor,
        rule=request.rule,
        worker_id=request.worker_id,
        gpu=request.gpu,
        labels=request.labels,
    )
    return answer(made, 201)


@blueprint.delete("/silences/<silence_id>")
@needs(Role.OPERATOR)
def end_silence(silence_id: str) -> Any:
    """End a silence before its time."""
    desk = context().master.alerts
    found = next((each for each in desk.silences() if each.id == silence_id), None)
    if found is None:
        flask.abort(404, "No silence of that id holds: it may have ended.")
    _check_may_silence(found.worker_id, found.labels)
    desk.end_silence(silence_id, visitor().actor)
    return answer({})


def _present(name: str) -> Rule | None:
    return next((view.rule for view in context().master.alerts.rules() if view.name == name), None)


def _shown(view: RuleView) -> ShownRule:
    return ShownRule(
        name=view.name,
        origin=view.origin,
        problem=view.problem,
        changed=view.changed,
        changed_by=view.changed_by,
        can_be_reset=view.can_be_reset,
        words=None if view.rule is None else rule_words(view.rule),
        fields=None if view.rule is None else rule_fields(view.rule),
    )


def _kinds(kinds: dict[str, KindFacts]) -> dict[str, dict[str, Any]]:
    return {
        kind: {
            "looks_at": facts.looks_at,
            "units": facts.units,
            "sides": facts.sides,
            "lists": facts.lists,
            "about_card": facts.about_card,
            "is_event": facts.is_event,
        }
        for kind, facts in kinds.items()
    }


def _check_may_silence(worker_id: str | None, labels: dict[str, str]) -> None:
    """Refuse a silence that reaches beyond the workers on which this person may run commands."""
    principal = visitor().principal
    if principal.may_command_all:
        return
    worker = context().master.fleet.worker(worker_id) if worker_id is not None else None
    known = worker.info.labels if worker is not None and worker.info is not None else {}
    if not principal.may_command({**known, **labels} if worker_id is None else known):
        raise NotAllowedError(
            f"{principal.name} may silence the workers on which they may run commands: name one of them, or their "
            f"labels ({', '.join(f'{key}={value}' for key, value in principal.commands_on or ())})"
        )
