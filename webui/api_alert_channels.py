"""The API of the channels by which people are told of alerts, for admins."""

from __future__ import annotations

import time
from collections.abc import Mapping

import flask
import msgspec
from werkzeug.exceptions import NotFound

from gpumon.roles import Role
from webui.access import needs
from webui.context import context
from webui.guard import visitor
from webui.typed import typed

blueprint = flask.Blueprint("api_alert_channels", __name__, url_prefix="/api/v1/alerts/channels")


class ShownChannel(msgspec.Struct, frozen=True):
    """A channel: what it is told of, when it last sent something, what was wrong last, and how much waits."""

    name: str
    kind: str
    severities: list[str]
    labels: Mapping[str, str]
    last_sent: float | None
    last_problem: str | None
    waiting: int


class Channels(msgspec.Struct, frozen=True):
    """The channels."""

    time: float
    channels: list[ShownChannel]


class Tried(msgspec.Struct, frozen=True):
    """Why a message to try a channel was not sent, None where it was."""

    problem: str | None


@blueprint.get("")
@needs(Role.ADMIN)
@typed()
def channels() -> Channels:
    """Return the channels by which people are told, and whether they work."""
    shown = [
        ShownChannel(
            name=view.name,
            kind=view.kind,
            severities=list(view.severities),
            labels=view.labels,
            last_sent=view.last_sent,
            last_problem=view.last_problem,
            waiting=view.waiting,
        )
        for view in context().master.telling.channels()
    ]
    return Channels(time.time(), shown)


@blueprint.post("/<name>/test")
@needs(Role.ADMIN)
@typed()
def try_channel(name: str) -> Tried:
    """Send a message to try a channel; takes up to 15 s where it does not answer."""
    telling = context().master.telling
    if name not in {view.name for view in telling.channels()}:
        raise NotFound("No channel of that name is set: see alerts.channels in gpumon.toml.")
    return Tried(telling.test(name, visitor().actor))
