"""The buttons that the owner of a machine offers in Home Assistant: `home_assistant.buttons`, NAME = command.

A button publishes the command as plain text: an object would need an id, and one that is fixed runs once.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

from agent.command_rules import CommandRefusedError, CommandRules
from gpumon.commands import Command, parse_command
from gpumon.errors import InvalidPayloadError, SettingError

Buttons = dict[str, tuple[str, str]]

_SETTING = "home_assistant.buttons"
_MAX_NAME = 64


def buttons(commands: Mapping[str, str], rules: CommandRules) -> Buttons:
    """Return name and command of each button by its key, which its unique id ends in.

    Raises SettingError: for a name that cannot be used, or a command that this worker would not run.
    """
    keyed: Buttons = {}
    for name, command in commands.items():
        key = _key(name)
        if key in keyed:
            raise SettingError(f"{_SETTING}: {keyed[key][0]!r} and {name!r} are too alike: give one another name")
        _check(name, command, rules)
        keyed[key] = (name.strip(), command)
    return keyed


def _key(name: str) -> str:
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise SettingError(f"{_SETTING}: {name[:80]!r} is no name for a button: use 1 to {_MAX_NAME} characters")
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"button_{slug}" if name.isascii() else f"button_{slug}_{zlib.crc32(name.encode()):08x}"


def _check(name: str, command: str, rules: CommandRules) -> None:
    try:
        parsed = parse_command(command.encode())
    except (InvalidPayloadError, UnicodeEncodeError) as error:
        raise SettingError(f"{_SETTING}: the command of {name!r} cannot be used: {error}") from error
    if not isinstance(parsed, Command) or parsed.command != command:
        raise SettingError(f"{_SETTING}: {name!r} has no plain shell text as its command: {command[:80]!r}")
    try:
        rules.arguments(command)
    except CommandRefusedError as error:
        raise SettingError(f"{_SETTING}: {name!r} would not run: {error}") from error
