"""Roles: one set of names for people and workers, for the page and MQTT alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

Labels = tuple[tuple[str, str], ...]

# The user name with which a machine that has only a join key logs in to the broker.
STRANGER_NAME = "join"


class Role(str, Enum):
    """What an account is for; what each may publish and read is decided by the broker and the page."""

    WORKER = "worker"
    VIEWER = "viewer"
    OPERATOR = "operator"
    INTEGRATION = "integration"
    ADMIN = "admin"
    MASTER = "master"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has logged in: a person's name, or a worker's id, and the role.

    `commands_on` limits an operator to workers that have all these labels (`()`: every worker), and grants commands to
    an integration; None is what the role has by itself: every worker for operators, none for integrations.
    `credential` stands for the secret that was shown (it is not the secret) and changes with it.
    """

    name: str
    role: Role
    commands_on: Labels | None = None
    credential: str = ""

    @property
    def may_command_all(self) -> bool:
        """Whether this principal may run commands on every worker, whatever its labels."""
        return self._command_labels == ()

    @property
    def may_command_some(self) -> bool:
        """Whether there can be a worker on which this principal may run commands."""
        return self._command_labels is not None

    def may_command(self, labels: Mapping[str, str]) -> bool:
        """Tell whether this principal may run commands on a worker that has these labels."""
        needed = self._command_labels
        return needed is not None and all(labels.get(key) == value for key, value in needed)

    @property
    def _command_labels(self) -> Labels | None:
        if self.role in (Role.ADMIN, Role.MASTER):
            return ()
        if self.role is Role.OPERATOR:
            return self.commands_on or ()
        return self.commands_on if self.role is Role.INTEGRATION else None
