"""The API of joining, for admins: the line with which a new machine lets itself in."""

from __future__ import annotations

from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Role
from master.join_keys import LONGEST_LIFETIME_S, MOST_USES, JoinKeyError
from webui.access import needs
from webui.answers import answer, asked
from webui.context import context
from webui.guard import visitor

blueprint = flask.Blueprint("api_joining", __name__, url_prefix="/api/v1/join-keys")

_HOUR_S = 3600.0


class JoinKeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a join key: how many machines may use it, for how long, and for which worker alone (None: any)."""

    uses: Annotated[int, Meta(ge=1, le=MOST_USES)] = 1
    hours: Annotated[float, Meta(gt=0, le=LONGEST_LIFETIME_S / _HOUR_S)] = 24.0
    worker_id: Annotated[str, Meta(max_length=63)] | None = None


@blueprint.get("")
@needs(Role.ADMIN, by_token=False)
def join_keys() -> Any:
    """Return the keys of the last 30 days; none holds the key itself."""
    return answer({"keys": context().master.join_keys.all()})


@blueprint.post("")
@needs(Role.ADMIN, by_token=False)
def make_join_key() -> Any:
    """Make a key; this answer alone holds the line. `is_local`: it leads to this machine alone."""
    page, request = context(), asked(JoinKeyRequest)
    if page.join_line is None:
        raise JoinKeyError("this page makes no join lines: use gpumon join-key on the master's machine")
    page.join_line(None, "to-see-whether-a-line-can-be-made")
    made, secret = page.master.join_keys.make(
        visitor().actor, uses=request.uses, lifetime_s=request.hours * _HOUR_S, worker_id=request.worker_id
    )
    is_local = page.settings.host is None and page.settings.broker.url is None
    return answer({"line": page.join_line(made, secret), "key": made, "is_local": is_local}, 201)


@blueprint.delete("/<key_id>")
@needs(Role.ADMIN, by_token=False)
def revoke_join_key(key_id: str) -> Any:
    """Revoke a key; workers that have joined with it stay."""
    context().master.join_keys.revoke(key_id, visitor().actor)
    return answer({})
