"""The API of admins: people's accounts. Not for programs with a token, so that a stolen one makes no new account."""

from __future__ import annotations

from typing import Annotated

import flask
import msgspec
from msgspec import Meta

from gpumon.roles import Principal, Role
from master.accounts import User
from master.limits import limit_text
from webui.access import needs
from webui.context import context
from webui.guard import visitor
from webui.typed import Done, typed

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


class Users(msgspec.Struct, frozen=True):
    """Everybody with an account."""

    users: list[UserView]


class MadePassword(msgspec.Struct, frozen=True):
    """Somebody's password, which no other answer holds."""

    name: str
    password: str | None


class Ended(msgspec.Struct, frozen=True):
    """How many sessions were ended."""

    ended: int


@blueprint.get("")
@needs(Role.ADMIN, by_token=False)
@typed()
def users() -> Users:
    """Return everybody."""
    master = context().master
    sessions = master.accounts.sessions.counts()
    owners = [token.user_name for token in master.accounts.tokens.of()]
    people = [_view(user, sessions.get(user.name, 0), owners.count(user.name)) for user in master.accounts.users()]
    return Users(people)


@blueprint.post("")
@needs(Role.ADMIN, by_token=False)
@typed(status=201)
def add_user(body: UserRequest) -> MadePassword:
    """Add somebody; this answer alone holds the password that was made up."""
    accounts = context().master.accounts
    password = accounts.add_user(body.name, body.role, None, body.commands_on, visitor().actor)
    return MadePassword(body.name, password)


@blueprint.patch("/<name>")
@needs(Role.ADMIN, by_token=False)
@typed()
def change_user(name: str, body: ChangeRequest) -> Done:
    """Change somebody's role or limit; live connections under the old one end within a second."""
    context().master.accounts.change_user(name, body.role, body.commands_on, visitor().actor)
    return Done()


@blueprint.delete("/<name>")
@needs(Role.ADMIN, by_token=False)
@typed()
def remove_user(name: str) -> Done:
    """Remove somebody with all sessions and tokens."""
    context().master.accounts.remove_user(name, visitor().actor)
    return Done()


@blueprint.post("/<name>/password")
@needs(Role.ADMIN, by_token=False)
@typed()
def reset_password(name: str) -> MadePassword:
    """Make up another password for somebody; this answer alone holds it. All sessions of theirs end."""
    who = visitor()
    keep = who.session_id if name == who.principal.name else None
    password = context().master.accounts.set_password(name, by=who.actor, keep_session=keep)
    return MadePassword(name, password)


@blueprint.delete("/<name>/sessions")
@needs(Role.ADMIN, by_token=False)
@typed()
def end_sessions(name: str) -> Ended:
    """End all of somebody's sessions."""
    return Ended(context().master.accounts.sessions.end_all(name, visitor().actor))


def _view(user: User, sessions: int, tokens: int) -> UserView:
    limit = limit_text(Principal(user.name, user.role, user.commands_on))
    return UserView(user.name, user.role, user.created, limit, sessions, tokens)
