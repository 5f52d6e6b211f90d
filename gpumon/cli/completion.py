"""`gpumon completion`: the script with which a shell completes gpumon's subcommands, flags and choices.

gpumon completion bash > ~/.local/share/bash-completion/completions/gpumon
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import cast

import shtab

from gpumon.cli import SUBCOMMANDS, Subcommand, declare
from gpumon.settings import Settings

SETTINGS: tuple[str, ...] = ()
SHELLS = ("bash", "zsh", "tcsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare the shell."""
    parser.add_argument("shell", choices=[shell for shell in SHELLS if shell in shtab.SUPPORTED_SHELLS])
    return []


def run(arguments: argparse.Namespace, _settings: Settings) -> int:
    """Print the script."""
    print(shtab.complete(whole_command_line(), arguments.shell))
    return 0


def whole_command_line() -> argparse.ArgumentParser:
    """Return one parser of everything; a subcommand whose packages are not installed is completed by its name alone."""
    parser = argparse.ArgumentParser(prog="gpumon", allow_abbrev=False)
    subcommands = parser.add_subparsers()
    for name, (module, text) in SUBCOMMANDS.items():
        if not text:
            continue
        own = subcommands.add_parser(name, help=text)
        try:
            declare(own, cast(Subcommand, importlib.import_module(module)))
        except ModuleNotFoundError:
            continue
    return parser
