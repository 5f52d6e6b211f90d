"""The API of what alerts are made of: rules, and silences."""

from __future__ import annotations

import time
from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import NotFound

from gpumon.roles import Role
from master.alerts.errors import RuleError
from master.alerts.kinds import KINDS, THROTTLE_REASONS, KindFacts
from master.alerts.records import Silence
from master.alerts.rule_parsing import parse_rule, rule_fields
from master.alerts.rules import Rule, RuleView
from master.commands import NotAllowedError
from webui.access import needs
from webui.context import context
from webui.guard import visitor
from webui.rule_words import rule_words
from webui.typed import Done, typed

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


class Rules(msgspec.Struct, frozen=True):
    """The rules, what a rule of each kind may hold, and the reasons of throttling that there are."""

    time: float
    rules: list[ShownRule]
    kinds: dict[str, KindFacts]
    reasons: list[str]


class MadeRule(msgspec.Struct, frozen=True):
    """A rule, in words."""

    name: str
    words: str


class Checked(msgspec.Struct, frozen=True):
    """A rule in words, or what is wrong with it."""

    words: str | None
    problem: str | None


class Silences(msgspec.Struct, frozen=True):
    """The silences that hold."""

    time: float
    silences: list[Silence]


@blueprint.get("/rules")
@needs(Role.VIEWER)
@typed()
def rules() -> Rules:
    """Return the rules, and what a rule of each kind may hold."""
    views = [_shown(view) for view in context().master.alerts.rules()]
    kinds = {kind.value: facts for kind, facts in KINDS.items()}
    return Rules(time.time(), views, kinds, list(THROTTLE_REASONS))


@blueprint.put("/rules/<name>")
@needs(Role.ADMIN)
@typed()
def put_rule(name: str, body: dict[str, Any]) -> MadeRule:
    """Make or change a rule: its fields as in `gpumon.toml`; what is not given stays as it is."""
    rule = parse_rule(name, body, _present(name))
    context().master.alerts.put_rule(rule, visitor().actor)
    return MadeRule(rule.name, rule_words(rule))


@blueprint.delete("/rules/<name>")
@needs(Role.ADMIN)
@typed()
def delete_rule(name: str) -> Done:
    """Take back what was changed here: the rule is as the settings have it, or built in, or gone."""
    context().master.alerts.delete_rule(name, visitor().actor)
    return Done()


@blueprint.post("/rules/check")
@needs(Role.ADMIN)
@typed()
def check_rule(body: CheckRequest) -> Checked:
    """Return what a rule would say in words, or what is wrong with it, without making it."""
    try:
        rule = parse_rule(body.name, body.fields, _present(body.name))
    except RuleError as error:
        return Checked(None, str(error))
    return Checked(rule_words(rule), None)


@blueprint.get("/silences")
@needs(Role.VIEWER)
@typed()
def silences() -> Silences:
    """Return the silences that hold."""
    return Silences(time.time(), context().master.alerts.silences())


@blueprint.post("/silences")
@needs(Role.OPERATOR)
@typed(status=201)
def silence(body: SilenceRequest) -> Silence:
    """Silence something."""
    _check_may_silence(body.worker_id, body.labels)
    return context().master.alerts.silence(
        until=body.until,
        reason=body.reason,
        by=visitor().actor,
        rule=body.rule,
        worker_id=body.worker_id,
        gpu=body.gpu,
        labels=body.labels,
    )


@blueprint.delete("/silences/<silence_id>")
@needs(Role.OPERATOR)
@typed()
def end_silence(silence_id: str) -> Done:
    """End a silence before its time."""
    desk = context().master.alerts
    found = next((each for each in desk.silences() if each.id == silence_id), None)
    if found is None:
        raise NotFound("No silence of that id holds: it may have ended.")
    _check_may_silence(found.worker_id, found.labels)
    desk.end_silence(silence_id, visitor().actor)
    return Done()


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
