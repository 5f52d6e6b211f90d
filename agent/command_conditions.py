"""Under which conditions commands run on this worker: as whom, with which environment, how long and how much."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from agent.command_rules import command_environment
from agent.command_user import CommandUser, command_user
from gpumon.commands import MAX_OUTPUT_BYTES, MAX_TIMEOUT_S
from gpumon.settings import CommandSettings


@dataclass(frozen=True, slots=True)
class CommandConditions:
    """What the owner of the machine has decided; `user` is None for the agent's own."""

    environment: Mapping[str, str]
    user: CommandUser | None = None
    max_timeout_s: float = MAX_TIMEOUT_S
    max_output_bytes: int = MAX_OUTPUT_BYTES


def command_conditions(settings: CommandSettings, **further: str) -> CommandConditions:
    """Return what the settings say; `further` are environment variables.

    Raises SettingError: for a user as whom nothing can be run.
    """
    user = command_user(settings.user)
    return CommandConditions(
        environment=command_environment(os.environ, user, **further),
        user=user,
        max_timeout_s=settings.max_timeout_s,
        max_output_bytes=settings.max_output_bytes,
    )
