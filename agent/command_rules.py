"""Which commands this worker runs, and how they are started: the setting `agent.commands` and its patterns."""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpumon.errors import GpumonError, SettingError
from gpumon.messages import CommandPolicy

_ANY_WORDS = "**"
_OUR_VARIABLES = frozenset({"MASTER_URL", "WORKER_ID"})


class CommandRefusedError(GpumonError):
    """The command is one that this worker does not run; the message says why."""


@dataclass(frozen=True, slots=True)
class CommandRules:
    """Decides about commands.

    `any`: shell text is run with `/bin/sh -c`. `none`: nothing is run. `listed`: the command is split into words as a
    shell would, and run without one where a pattern has as many words and each matches (`*`, `?`, `[...]`). A last
    word `**` in a pattern stands for any further words, none included. A wildcard does not match a word with `..` as
    a part of its path, so that `cat /var/log/*` stays in that folder.
    """

    policy: CommandPolicy = "any"
    patterns: Sequence[str] = ()
    _patterns: list[list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", [_pattern_words(pattern) for pattern in self.patterns])

    def arguments(self, command: str) -> list[str]:
        """Return what to start for this command. Raises CommandRefusedError: when it may not run here."""
        if self.policy == "any":
            return ["/bin/sh", "-c", command]
        if self.policy == "none":
            raise CommandRefusedError("this worker runs no commands (agent.commands is none)")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise CommandRefusedError(f"the command cannot be split into words: {error}") from error
        if not any(_matches(words, pattern) for pattern in self._patterns):
            raise CommandRefusedError("the command is not on this worker's list (--allow-command)")
        return words


def command_environment(environment: Mapping[str, str] = os.environ, **further: str) -> dict[str, str]:
    """Return the environment that commands get: the agent's own without the settings and secrets of gpumon."""
    kept = {name: value for name, value in environment.items() if not _is_ours(name)}
    return {**kept, **further}


def _is_ours(name: str) -> bool:
    return name.startswith("GPUMON_") or name in _OUR_VARIABLES


def _pattern_words(pattern: str) -> list[str]:
    try:
        words = shlex.split(pattern)
    except ValueError as error:
        raise SettingError(f"--allow-command: {pattern!r} cannot be split into words: {error}") from error
    if not words or words[0] == _ANY_WORDS:
        raise SettingError(f"--allow-command: {pattern!r} names no program")
    return words


def _matches(words: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == _ANY_WORDS:
        pattern = pattern[:-1] + ["*"] * (len(words) - len(pattern) + 1)
    return len(words) == len(pattern) and all(map(_word_matches, words, pattern))


def _word_matches(word: str, pattern: str) -> bool:
    if word == pattern:
        return True
    return fnmatch.fnmatchcase(word, pattern) and ".." not in word.split("/")
