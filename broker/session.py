"""Who a connection belongs to.

It stands in for amqtt's session, which makes a state machine and two queues that this broker has no use for: 19 KB for
each client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from gpumon.roles import Principal


@dataclass(slots=True, eq=False)
class Session:
    """What a client has said of itself when it connected; `principal` is known once it has logged in."""

    client_id: str
    username: str | None
    password: str | None
    keep_alive: int
    remote_address: str
    principal: Principal | None = None


def principal_of(session: Session) -> Principal:
    """Return who has logged in; only for a session that `LoginPlugin` has let in."""
    return cast("Principal", session.principal)
