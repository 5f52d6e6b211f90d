"""Which commands this worker runs, and how they are started: the setting `agent.commands` and its patterns."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.command_user import CommandUser
from gpumon.errors import GpumonError, SettingError
from gpumon.messages import CommandPolicy

_ANY_WORDS = "**"

# gpumon's own, and what a service manager or a log-in session has given to the agent alone (systemd.exec(5)): where
# its credentials lie, and ways to speak in its name.
_AGENTS_ALONE = re.compile(
    r"GPUMON_.*|MASTER_URL|WORKER_ID|CREDENTIALS_DIRECTORY|NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+|JOURNAL_STREAM"
    r"|SSH_AUTH_SOCK"
)
# What another user's commands could not use: it leads into the agent's user's home and session.
_AGENTS_USERS = re.compile(r"XDG_.*|SUDO_.*|DBUS_SESSION_BUS_ADDRESS|MAIL|XAUTHORITY|OLDPWD|PWD")

_CLIMBS = re.compile(r"(?:^|[/=:,])\.\.(?:[/:,]|$)")


class CommandRefusedError(GpumonError):
    """The command is one that this worker does not run; the message says why."""

    see = "troubleshooting.md#a-command-is-not-run"


@dataclass(frozen=True, slots=True)
class CommandRules:
    """Decides about commands.

    `any`: shell text is run with `/bin/sh -c`. `none`: nothing is run. `listed`: the command is split into words as a
    shell would, and run without one where a pattern has as many words and each matches (`*`, `?`, `[...]`). A last
    word `**` in a pattern stands for any further words, none included. A wildcard does not match a word with `..` as
    a part of its path, so that `cat /var/log/*` stays in that folder; in the program's name it does not match `/`.
    """

    policy: CommandPolicy = "any"
    patterns: Sequence[str] = ()
    _patterns: list[list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", [_pattern_words(pattern) for pattern in self.patterns])

    def arguments(self, command: str) -> list[str]:
        """Return what to start for this command. Raises CommandRefusedError: when it may not run here."""
        if self.policy == "none":
            raise CommandRefusedError("this worker runs no commands (agent.commands is none)")
        if "\0" in command:
            raise CommandRefusedError("the command has a NUL character")
        if self.policy == "any":
            return ["/bin/sh", "-c", command]
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise CommandRefusedError(f"the command cannot be split into words: {error}") from error
        if not any(_matches(words, pattern) for pattern in self._patterns):
            raise CommandRefusedError("the command is not on this worker's list (--allow-command)")
        return words


def command_environment(
    environment: Mapping[str, str] = os.environ, user: CommandUser | None = None, **further: str
) -> dict[str, str]:
    """Return the environment that commands get: the agent's own without what is for the agent alone.

    That is the settings and secrets of gpumon, what its service manager gave it, and where commands run as another user
    what leads to the agent's own. Folders of PATH that are not whole paths are left out: they would be looked for in
    the folder in which the command runs.
    """
    kept = {name: value for name, value in environment.items() if not _AGENTS_ALONE.fullmatch(name)}
    if user is not None:
        kept = {name: value for name, value in kept.items() if not _AGENTS_USERS.fullmatch(name)} | dict(user.variables)
    given = {**kept, **further}
    folders = [folder for folder in given.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    return {**given, "PATH": os.pathsep.join(folders) or os.defpath}


def _pattern_words(pattern: str) -> list[str]:
    try:
        words = shlex.split(pattern)
    except ValueError as error:
        raise SettingError(f"--allow-command: {pattern!r} cannot be split into words: {error}") from error
    if not words or words[0] in ("", _ANY_WORDS):
        raise SettingError(f"--allow-command: {pattern!r} names no program")
    if "/" in words[0] and not words[0].startswith("/"):
        raise SettingError(f"--allow-command: {pattern!r} names a program by half a path: give its name, or all of it")
    return words


def _matches(words: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == _ANY_WORDS:
        pattern = pattern[:-1] + ["*"] * (len(words) - len(pattern) + 1)
    if len(words) != len(pattern) or words[0].count("/") != pattern[0].count("/"):
        return False
    return all(map(_word_matches, words, pattern))


def _word_matches(word: str, pattern: str) -> bool:
    if word == pattern:
        return True
    return fnmatch.fnmatchcase(word, pattern) and not _CLIMBS.search(word)
