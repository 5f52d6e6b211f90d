"""Placeholders in a rule's commands: `{worker}`, `{gpu}`, `{index}`, `{users}`, `{pids}`, each quoted for the shell."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from master.alerts.kinds import KINDS
from master.alerts.records import Kind

OF_WORKERS = ("worker", "users", "pids")
OF_CARDS = ("worker", "gpu", "index", "users", "pids")

# `${name}` is the shell's own.
_WORD = re.compile(r"(?<!\$)\{([A-Za-z_]+)\}")


def problem_of(command: str, kind: Kind) -> str | None:
    """Say what is wrong with the placeholders of a command, None where nothing is.

    A word in braces that is not near to a placeholder is left to the shell (`awk '{print}'`).
    """
    known = OF_CARDS if KINDS[kind].about_card else OF_WORKERS
    for match in _WORD.finditer(command):
        name = match[1]
        if name not in OF_CARDS:
            near = difflib.get_close_matches(name.lower(), OF_CARDS, n=1, cutoff=0.7)
            if near:
                return f"there is no placeholder {{{name}}}, did you mean {{{near[0]}}}?"
            continue
        if name not in known:
            return f"{{{name}}} is not known in a rule of kind {kind.value}, which is about a whole worker"
        if _is_quoted(command, match.start()):
            return f"{{{name}}} stands in quotes: take them away, what is filled in is quoted already"
    return None


def used_in(command: str) -> Iterator[str]:
    """Yield the placeholders that stand in a command."""
    return (match[1] for match in _WORD.finditer(command) if match[1] in OF_CARDS)


def fill(command: str, values: Mapping[str, Sequence[str]]) -> str:
    """Return the command with every value quoted by itself, and separated by spaces."""

    def filled(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        return " ".join(shlex.quote(value) for value in values[match[1]])

    return _WORD.sub(filled, command)


def _is_quoted(command: str, place: int) -> bool:
    """Tell whether the shell is within quotes at this place, where what is filled in would end them."""
    quote, escaped = "", False
    for character in command[:place]:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
    return quote != ""
