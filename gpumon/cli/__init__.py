"""The command line: a file a subcommand, which composes the parts; only the one that runs is imported."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from gpumon.cli.given_config import given_config
from gpumon.cli.private import keep_private
from gpumon.errors import DOCS, GpumonError
from gpumon.log import configure_logging
from gpumon.settings import Settings
from gpumon.settings_sources import Declaration, declarations, load_settings
from gpumon.version import __version__

# A subcommand's name, its module, and what the overview says of it.
SUBCOMMANDS = {
    "up": (
        "gpumon.cli.up",
        "start everything on this machine: broker, master with its page, and an agent for its GPUs",
    ),
    "agent": ("gpumon.cli.agent", "publish this machine's GPUs and run commands on it"),
    "broker": ("gpumon.cli.broker", "the embedded MQTT broker alone"),
    "master": ("gpumon.cli.master", "the master and its page alone"),
    "run": ("gpumon.cli.run", "run a command on one worker or on many"),
    "top": ("gpumon.cli.top", "the fleet in a terminal, live; or once, for a pipe"),
    "user": ("gpumon.cli.user", "people's accounts, their API tokens and sessions"),
    "worker": ("gpumon.cli.worker", "add, list and remove workers"),
    "join-key": ("gpumon.cli.join_key", "make the line with which a new machine joins"),
    "audit": ("gpumon.cli.audit", "show who did what"),
    "move-database": ("gpumon.cli.move_database", "copy everything from SQLite to the PostgreSQL of database.url"),
    "backup": ("gpumon.cli.backup", "copy everything that a master keeps into one file, while it runs"),
    "restore": ("gpumon.cli.restore", "check a backup, and put it in the place of what a master keeps"),
    "doctor": ("gpumon.cli.doctor", "what is wrong on this machine, and what to do about it"),
    "health": ("gpumon.cli.health", "does the master, agent or broker of this machine work? exit code 0 or 1"),
    "install-service": ("gpumon.cli.install_service", "have systemd start a master or an agent at boot"),
    "completion": ("gpumon.cli.completion", "print what makes a shell complete gpumon's words"),
    "demo-workers": ("gpumon.cli.demo_workers", ""),  # started by `gpumon up --demo`
}
MISSING = f"{DOCS}troubleshooting.md#a-part-is-not-installed"
EVERYWHERE = ("data", "log.level")


class Subcommand(Protocol):
    """What the module of a subcommand holds."""

    SETTINGS: tuple[str, ...]

    def add_arguments(self, parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
        """Declare what is not a setting, and return the parsers of actions (`worker add`), which take settings too."""

    def run(self, arguments: argparse.Namespace, settings: Settings) -> int:
        """Do it, and return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that the arguments name and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"gpumon {__version__}")
        return 0
    name, *rest = words
    if name not in SUBCOMMANDS:
        near = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
        hint = f"did you mean gpumon {near[0]}?" if near else "gpumon --help lists what there is"
        return _failed(f"there is no subcommand {name!r}: {hint}", 2, f"{DOCS}command-line.md")
    try:
        subcommand = cast(Subcommand, importlib.import_module(SUBCOMMANDS[name][0]))
    except ModuleNotFoundError as error:
        return _failed(f"gpumon {name} needs {error.name}, which is not installed: {_extra_for(name)}", 2, MISSING)
    return _run(name, subcommand, rest)


def _run(name: str, subcommand: Subcommand, words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"gpumon {name}", description=SUBCOMMANDS[name][1], allow_abbrev=False)
    declare(parser, subcommand)
    arguments = parser.parse_args(words)
    known = declarations()
    flags = {key: value for key, value in vars(arguments).items() if key in known}
    try:
        keep_private()
        settings = load_settings(flags, os.environ, given_config(arguments))
        configure_logging(settings.log.level)
        return subcommand.run(arguments, settings)
    except GpumonError as error:
        return _failed(str(error), error.exit_code, error.more)
    except KeyboardInterrupt:
        return 130


def declare(parser: argparse.ArgumentParser, subcommand: Subcommand) -> None:
    """Declare what a subcommand takes: its own arguments, and the settings that concern it."""
    known = declarations()
    for takes_settings in (parser, *subcommand.add_arguments(parser)):
        _add_settings(takes_settings, [known[key] for key in (*subcommand.SETTINGS, *EVERYWHERE)])


def _add_settings(parser: argparse.ArgumentParser, settings: Sequence[Declaration]) -> None:
    group = parser.add_argument_group("settings", "also in gpumon.toml and as environment variables")
    file_help = "settings file instead of DATA/gpumon.toml"
    group.add_argument("--config", default=argparse.SUPPRESS, metavar="FILE", help=file_help)
    for declaration in settings:
        _add_flag(group, declaration)


def _add_flag(group: argparse._ArgumentGroup, declaration: Declaration) -> None:
    default = "" if declaration.default in (None, [], {}, False) else f" (default {declaration.default})"
    help_text = f"{declaration.help}{default}".replace("%", "%%")
    if declaration.is_switch:
        group.add_argument(
            declaration.flag,
            dest=declaration.key,
            action="store_const",
            const="true",
            default=argparse.SUPPRESS,
            help=help_text,
        )
        return
    placeholder = "K=V" if isinstance(declaration.default, dict) else declaration.flag[2:].upper().replace("-", "_")
    group.add_argument(
        declaration.flag,
        dest=declaration.key,
        action="append" if declaration.repeats else "store",
        default=argparse.SUPPRESS,  # so that a flag before an action is not undone by its absence after it
        metavar=placeholder,
        help=help_text,
    )


def _overview() -> str:
    lines = "\n".join(f"  {name:<15} {text}" for name, (_, text) in SUBCOMMANDS.items() if text)
    return (
        "gpumon watches a fleet of NVIDIA GPU machines and runs commands on them.\n\n"
        f"usage: gpumon SUBCOMMAND ...\n\n{lines}\n\n"
        "gpumon SUBCOMMAND --help says what each takes."
    )


def _extra_for(name: str) -> str:
    extra = {"agent": "agent", "demo-workers": "agent,master", "top": "top", "completion": "top"}.get(name, "master")
    return f"pip install 'gpumon[{extra}]'"


def _failed(message: str, exit_code: int, more: str) -> int:
    print(f"gpumon: {message}\nMore: {more}", file=sys.stderr)
    return exit_code
