"""Who may ask for what: each route and each live event says so beside it, and what says nothing is refused.

@blueprint.get("/workers")
@needs(Role.VIEWER)
def workers() -> Any: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import flask

from gpumon.errors import GpumonError
from gpumon.roles import Principal, Role

View = TypeVar("View", bound=Callable[..., Any])

_ATTRIBUTE = "gpumon_need"
# Who may look at everything; who may run commands is decided by `Principal.may_command_some`, and where by the desk.
READERS = frozenset({Role.VIEWER, Role.OPERATOR, Role.INTEGRATION, Role.ADMIN})


class UndeclaredError(GpumonError):
    """A route or event that does not say who may ask for it."""

    see = "architecture.md#trust"


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody must be: `role` None for anybody, logged in or not; `by_token` whether an API token will do."""

    role: Role | None
    by_token: bool = True

    def is_met_by(self, principal: Principal | None, *, by_token: bool) -> bool:
        """Tell whether this principal (None: not logged in) may."""
        if self.role is None:
            return True
        if principal is None or (by_token and not self.by_token):
            return False
        if self.role is Role.ADMIN:
            return principal.role is Role.ADMIN
        if self.role is Role.OPERATOR:
            return principal.may_command_some
        return principal.role in READERS

    def refusal(self, *, by_token: bool) -> str:
        """Return what is said to who is logged in and may not."""
        if by_token and not self.by_token:
            return "this takes a log-in on the page: an API token does not do"
        if self.role is Role.ADMIN:
            return "this takes the role admin"
        return "viewers may watch; running and cancelling commands takes the role operator or admin"


def needs(role: Role, *, by_token: bool = True) -> Callable[[View], View]:
    """Declare that a route or event takes somebody who is logged in and has this role, or more.

    VIEWER is everybody with an account; OPERATOR whoever may run commands somewhere; ADMIN admins. `by_token` False
    keeps it from API tokens, so that none can make itself a password, or another token that outlives it.
    """
    return _declaring(Need(role, by_token))


def open_to_all(view: View) -> View:
    """Declare that anybody may ask for a route."""
    return _declaring(Need(None))(view)


def need_of(view: Callable[..., Any]) -> Need:
    """Return what a route or event declares. Raises UndeclaredError."""
    need = getattr(view, _ATTRIBUTE, None)
    if not isinstance(need, Need):
        raise UndeclaredError(f"{view.__module__}.{view.__qualname__} does not declare who may ask for it: use @needs")
    return need


def check_declared(app: flask.Flask, events: Iterable[Callable[..., Any]]) -> None:
    """Refuse an application with a route or event that declares nothing. Raises UndeclaredError."""
    for view in (*app.view_functions.values(), *events):
        need_of(view)


def _declaring(need: Need) -> Callable[[View], View]:
    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, need)
        return view

    return declare
