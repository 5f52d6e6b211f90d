"""The API of one's own account: password, sessions, API tokens. For people alone, not for programs with a token."""

from __future__ import annotations

from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import TooManyRequests

from gpumon.roles import Role
from master.accounts import LONGEST_PASSWORD, AccountError
from webui.access import needs
from webui.answers import answer, asked
from webui.context import context
from webui.guard import visitor

blueprint = flask.Blueprint("api_account", __name__, url_prefix="/api/v1/account")

_DAY_S = 86_400.0
Password = Annotated[str, Meta(max_length=LONGEST_PASSWORD)]


class PasswordRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change the password from `old` to `new`."""

    old: Password
    new: Password


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make an API token, which ends after `days`, or (None) when it is revoked."""

    label: Annotated[str, Meta(max_length=200)]
    days: Annotated[float, Meta(gt=0, le=3660)] | None = None


@blueprint.get("")
@needs(Role.VIEWER, by_token=False)
def account() -> Any:
    """Return one's sessions and API tokens."""
    who, master = visitor(), context().master
    return answer(
        {
            "user": who.principal.name,
            "session": who.session_id,
            "sessions": master.accounts.sessions.of(who.principal.name),
            "tokens": master.accounts.tokens.of(who.principal.name),
        }
    )


@blueprint.post("/password")
@needs(Role.VIEWER, by_token=False)
def change_password() -> Any:
    """Change one's password; all other sessions end."""
    who, page, request = visitor(), context(), asked(PasswordRequest)
    name = who.principal.name
    wait_s = page.throttle.wait_s(who.address, name, f"session {who.session}")
    if wait_s > 0:
        raise TooManyRequests("Too many attempts.", retry_after=int(wait_s) + 1)
    if not page.sessions.is_password_of(name, request.old):
        raise AccountError("the old password is wrong")
    page.throttle.succeeded(who.address, name, f"session {who.session}")
    page.master.accounts.set_password(name, request.new, by=who.actor, keep_session=who.session_id)
    return answer({})


@blueprint.delete("/sessions/<session_id>")
@needs(Role.VIEWER, by_token=False)
def end_session(session_id: str) -> Any:
    """End one of one's sessions."""
    who = visitor()
    context().master.accounts.sessions.end(session_id, who.principal.name, who.actor)
    return answer({})


@blueprint.post("/tokens")
@needs(Role.VIEWER, by_token=False)
def make_token() -> Any:
    """Make an API token; this answer alone holds it."""
    who, request = visitor(), asked(TokenRequest)
    lifetime_s = None if request.days is None else request.days * _DAY_S
    made, token = context().master.accounts.tokens.make(who.principal.name, request.label, lifetime_s, who.actor)
    return answer({"token": token, "made": made}, 201)


@blueprint.delete("/tokens/<token_id>")
@needs(Role.VIEWER, by_token=False)
def revoke_token(token_id: str) -> Any:
    """Revoke one of one's tokens."""
    who = visitor()
    context().master.accounts.tokens.revoke(token_id, who.principal.name, who.actor)
    return answer({})
