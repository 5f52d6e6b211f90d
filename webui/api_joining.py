"""The API of joining, for admins: the line with which a new machine lets itself in."""

from __future__ import annotations

from typing import Annotated

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Role
from master.join_keys import LONGEST_LIFETIME_S, MOST_USES, JoinKey, JoinKeyError
from webui.access import needs
from webui.context import context
from webui.guard import visitor
from webui.typed import Done, typed

blueprint = flask.Blueprint("api_joining", __name__, url_prefix="/api/v1/join-keys")

_HOUR_S = 3600.0


class JoinKeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a join key: how many machines may use it, for how long, and for which worker alone (None: any)."""

    uses: Annotated[int, Meta(ge=1, le=MOST_USES)] = 1
    hours: Annotated[float, Meta(gt=0, le=LONGEST_LIFETIME_S / _HOUR_S)] = 24.0
    worker_id: Annotated[str, Meta(max_length=63)] | None = None


class JoinKeys(msgspec.Struct, frozen=True):
    """Keys, without what they are used with."""

    keys: list[JoinKey]


class MadeJoinKey(msgspec.Struct, frozen=True):
    """A key, and the line, which no other answer holds; `is_local`: it leads to this machine alone."""

    line: str
    key: JoinKey
    is_local: bool


@blueprint.get("")
@needs(Role.ADMIN, by_token=False)
@typed()
def join_keys() -> JoinKeys:
    """Return the keys of the last 30 days; none holds the key itself."""
    return JoinKeys(context().master.join_keys.all())


@blueprint.post("")
@needs(Role.ADMIN, by_token=False)
@typed(status=201)
def make_join_key(body: JoinKeyRequest) -> MadeJoinKey:
    """Make a key; this answer alone holds the line."""
    page = context()
    if page.join_line is None:
        raise JoinKeyError("this page makes no join lines: use gpumon join-key on the master's machine")
    page.join_line(None, "to-see-whether-a-line-can-be-made")
    made, secret = page.master.join_keys.make(
        visitor().actor, uses=body.uses, lifetime_s=body.hours * _HOUR_S, worker_id=body.worker_id
    )
    is_local = page.settings.host is None and page.settings.broker.url is None
    return MadeJoinKey(page.join_line(made, secret), made, is_local)


@blueprint.delete("/<key_id>")
@needs(Role.ADMIN, by_token=False)
@typed()
def revoke_join_key(key_id: str) -> Done:
    """Revoke a key; workers that have joined with it stay."""
    context().master.join_keys.revoke(key_id, visitor().actor)
    return Done()
