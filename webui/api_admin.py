"""The API of admins: people's accounts. Not for programs with a token, so that a stolen one makes no new account."""

from __future__ import annotations

from typing import Annotated, Any

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Principal, Role
from master.accounts import User
from master.limits import limit_text
from webui.access import needs
from webui.answers import answer, asked
from webui.context import context
from webui.guard import visitor

blueprint = flask.Blueprint("api_admin", __name__, url_prefix="/api/v1/users")

Limit = Annotated[str, Meta(max_length=4096)]


class UserRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Add somebody; `commands_on` as in `gpumon user add --commands-on`, None for what the role has by itself."""

    name: Annotated[str, Meta(max_length=128)]
    role: Role
    commands_on: Limit | None = None


class ChangeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give somebody another role, another limit, or both."""

    role: Role | None = None
    commands_on: Limit | None = None


class UserView(msgspec.Struct, frozen=True):
    """Somebody, with the limit as text."""

    name: str
    role: Role
    created: float
    commands_on: str
    sessions: int
    tokens: int


@blueprint.get("")
@needs(Role.ADMIN, by_token=False)
def users() -> Any:
    """Return everybody."""
    master = context().master
    sessions = master.accounts.sessions.counts()
    owners = [token.user_name for token in master.accounts.tokens.of()]
    people = [_view(user, sessions.get(user.name, 0), owners.count(user.name)) for user in master.accounts.users()]
    return answer({"users": people})


@blueprint.post("")
@needs(Role.ADMIN, by_token=False)
def add_user() -> Any:
    """Add somebody; this answer alone holds the password that was made up."""
    request = asked(UserRequest)
    accounts = context().master.accounts
    password = accounts.add_user(request.name, request.role, None, request.commands_on, visitor().actor)
    return answer({"name": request.name, "password": password}, 201)


@blueprint.patch("/<name>")
@needs(Role.ADMIN, by_token=False)
def change_user(name: str) -> Any:
    """Change somebody's role or limit; live connections under the old one end within a second."""
    request = asked(ChangeRequest)
    context().master.accounts.change_user(name, request.role, request.commands_on, visitor().actor)
    return answer({})


@blueprint.delete("/<name>")
@needs(Role.ADMIN, by_token=False)
def remove_user(name: str) -> Any:
    """Remove somebody with all sessions and tokens."""
    context().master.accounts.remove_user(name, visitor().actor)
    return answer({})


@blueprint.post("/<name>/password")
@needs(Role.ADMIN, by_token=False)
def reset_password(name: str) -> Any:
    """Make up another password for somebody; this answer alone holds it. All sessions of theirs end."""
    who = visitor()
    keep = who.session_id if name == who.principal.name else None
    password = context().master.accounts.set_password(name, by=who.actor, keep_session=keep)
    return answer({"name": name, "password": password})


@blueprint.delete("/<name>/sessions")
@needs(Role.ADMIN, by_token=False)
def end_sessions(name: str) -> Any:
    """End all of somebody's sessions."""
    return answer({"ended": context().master.accounts.sessions.end_all(name, visitor().actor)})


def _view(user: User, sessions: int, tokens: int) -> UserView:
    limit = limit_text(Principal(user.name, user.role, user.commands_on))
    return UserView(user.name, user.role, user.created, limit, sessions, tokens)
