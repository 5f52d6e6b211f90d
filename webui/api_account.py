"""The API of one's own account: password, sessions, API tokens. For people alone, not for programs with a token."""

from __future__ import annotations

from typing import Annotated

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import TooManyRequests

from gpumon.roles import Role
from master.accounts import LONGEST_PASSWORD, AccountError
from master.api_tokens import ApiToken
from master.sessions import Session
from webui.access import needs
from webui.context import context
from webui.guard import visitor
from webui.typed import Done, typed

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


class Account(msgspec.Struct, frozen=True):
    """One's sessions, of which `session` is this one, and API tokens."""

    user: str
    session: str | None
    sessions: list[Session]
    tokens: list[ApiToken]


class MadeToken(msgspec.Struct, frozen=True):
    """A token, which no other answer holds, and what is known of it."""

    token: str
    made: ApiToken


@blueprint.get("")
@needs(Role.VIEWER, by_token=False)
@typed()
def account() -> Account:
    """Return one's sessions and API tokens."""
    who, accounts = visitor(), context().master.accounts
    name = who.principal.name
    return Account(name, who.session_id, accounts.sessions.of(name), accounts.tokens.of(name))


@blueprint.post("/password")
@needs(Role.VIEWER, by_token=False)
@typed()
def change_password(body: PasswordRequest) -> Done:
    """Change one's password; all other sessions end."""
    who, page = visitor(), context()
    name = who.principal.name
    wait_s = page.throttle.wait_s(who.address, name, f"session {who.session}")
    if wait_s > 0:
        raise TooManyRequests("Too many attempts.", retry_after=int(wait_s) + 1)
    if not page.sessions.is_password_of(name, body.old):
        raise AccountError("the old password is wrong")
    page.throttle.succeeded(who.address, name, f"session {who.session}")
    page.master.accounts.set_password(name, body.new, by=who.actor, keep_session=who.session_id)
    return Done()


@blueprint.delete("/sessions/<session_id>")
@needs(Role.VIEWER, by_token=False)
@typed()
def end_session(session_id: str) -> Done:
    """End one of one's sessions."""
    who = visitor()
    context().master.accounts.sessions.end(session_id, who.principal.name, who.actor)
    return Done()


@blueprint.post("/tokens")
@needs(Role.VIEWER, by_token=False)
@typed(status=201)
def make_token(body: TokenRequest) -> MadeToken:
    """Make an API token; this answer alone holds it."""
    who = visitor()
    lifetime_s = None if body.days is None else body.days * _DAY_S
    made, token = context().master.accounts.tokens.make(who.principal.name, body.label, lifetime_s, who.actor)
    return MadeToken(token, made)


@blueprint.delete("/tokens/<token_id>")
@needs(Role.VIEWER, by_token=False)
@typed()
def revoke_token(token_id: str) -> Done:
    """Revoke one of one's tokens."""
    who = visitor()
    context().master.accounts.tokens.revoke(token_id, who.principal.name, who.actor)
    return Done()
