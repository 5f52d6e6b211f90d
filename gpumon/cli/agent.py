"""`gpumon agent`: publish this machine's GPUs and run commands on it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import msgspec

from agent.service import run_agent
from gpumon.cli.connection import stop_on_signals
from gpumon.cli.pasted import line_from_standard_input
from gpumon.errors import SettingError
from gpumon.joining import is_join_line
from gpumon.settings import Settings

logger = logging.getLogger(__name__)

JOIN = "--join"
VARIABLES = ("GPUMON_AGENT_JOIN", "GPUMON_JOIN")

SETTINGS = (
    "agent.master",
    "agent.worker_id",
    "agent.token_file",
    "agent.join",
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
    "home_assistant.enabled",
    "home_assistant.buttons",
    "home_assistant.prefix",
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


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Publish until SIGTERM or SIGINT."""
    line, is_flag = settings.agent.join or "", "agent.join" in vars(arguments)
    if is_flag and is_join_line(line):
        _hide_from_process_list(line)
    if not is_flag and is_join_line(line) and not any(name in os.environ for name in VARIABLES):
        raise SettingError("agent.join in the settings file holds a join line: keep that in a file (0600), and name it")
    if settings.agent.join == "-":
        settings = _replaced(settings, join=line_from_standard_input())
    run_agent(with_command_list(settings), stop_on_signals())
    return 0


def with_command_list(settings: Settings) -> Settings:
    """Let a list of allowed commands mean that no others are run."""
    if not settings.agent.allow_commands or settings.agent.commands != "any":
        return settings
    return _replaced(settings, commands="listed")


def _replaced(settings: Settings, **agent: str) -> Settings:
    return msgspec.structs.replace(settings, agent=msgspec.structs.replace(settings.agent, **agent))


def _hide_from_process_list(line: str) -> None:
    """Begin anew with the join line in the environment, which others on this machine cannot read, as they can words."""
    words = [word for place, word in enumerate(sys.orig_argv) if not _gives(sys.orig_argv, place, line)]
    if words == sys.orig_argv:
        return
    logger.warning(
        "a join line among the arguments is seen by others on this machine: give it with --join -, or a file"
    )
    os.execve(sys.executable, [sys.executable, *words[1:]], {**os.environ, "GPUMON_JOIN": line})  # noqa: S606  # nosec B606


def _gives(words: list[str], place: int, line: str) -> bool:
    """Tell whether this word is the flag with the line, or one of the two words that it takes."""
    here, before, after = words[place], words[place - 1], words[place + 1 : place + 2]
    return (here == JOIN and after == [line]) or (here == line and before == JOIN) or here == f"{JOIN}={line}"
