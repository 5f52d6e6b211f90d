"""What an agent's settings make of Home Assistant: an extension that announces, one that takes back, or none."""

from __future__ import annotations

from agent.cards import KnownCards
from agent.command_rules import CommandRules
from agent.home_assistant.announcer import Announcer
from agent.home_assistant.buttons import Buttons, buttons
from agent.home_assistant.record import Record
from agent.identity import Identity
from gpumon.settings import Settings
from gpumon.topics import Topics


def offered_buttons(settings: Settings) -> Buttons:
    """Return the buttons that are announced. Raises SettingError: for one that could not work here."""
    if not settings.home_assistant.enabled:
        return {}
    return buttons(
        settings.home_assistant.buttons, CommandRules(settings.agent.commands, settings.agent.allow_commands)
    )


def home_assistant_extensions(settings: Settings, who: Identity, topics: Topics, cards: KnownCards) -> list[Announcer]:
    """Return what the worker needs beside itself; where an earlier run has announced and this one does not, it clears.

    Raises SettingError: for a button that could not work here.
    """
    is_enabled = settings.home_assistant.enabled
    if not is_enabled and not Record(who.folder).exists:
        return []
    offered = offered_buttons(settings)
    return [Announcer(who.worker_id, topics, who.folder, cards.inventory, offered, is_enabled=is_enabled)]
