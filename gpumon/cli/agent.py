"""`gpumon agent`: publish this machine's GPUs and run commands on it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec

from agent.service import run_agent
from gpumon.cli.connection import stop_on_signals
from gpumon.settings import Settings

SETTINGS = (
    "agent.master",
    "agent.worker_id",
    "agent.token_file",
    "agent.username",
    "agent.password_file",
    "agent.cafile",
    "agent.interval_s",
    "agent.labels",
    "agent.source",
    "agent.commands",
    "agent.allow_commands",
    "agent.processes",
    "commands.user",
    "commands.max_timeout_s",
    "commands.max_output_bytes",
    "mqtt.base",
)


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare `--no-commands`, the usual way to say `--agent-commands none`."""
    parser.add_argument(
        "--no-commands",
        dest="agent.commands",
        action="store_const",
        const="none",
        default=argparse.SUPPRESS,
        help="run no commands on this machine, whoever sends them",
    )
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Publish until SIGTERM or SIGINT."""
    run_agent(with_command_list(settings), stop_on_signals())
    return 0


def with_command_list(settings: Settings) -> Settings:
    """Let a list of allowed commands mean that no others are run."""
    if not settings.agent.allow_commands or settings.agent.commands != "any":
        return settings
    return msgspec.structs.replace(settings, agent=msgspec.structs.replace(settings.agent, commands="listed"))
