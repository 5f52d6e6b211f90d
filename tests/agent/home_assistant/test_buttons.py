"""Buttons are the owner's choice, and one that could not work is told of at the start."""

from __future__ import annotations

import pytest

from agent.command_rules import CommandRules
from agent.home_assistant.buttons import buttons
from agent.service import run_agent
from gpumon.errors import SettingError
from gpumon.settings import AgentSettings, HomeAssistantSettings, Settings


def test_a_button_keeps_its_name_and_command_under_a_key_for_its_unique_id() -> None:
    assert buttons({"Restart Ollama": "systemctl restart ollama"}, CommandRules()) == {
        "button_restart_ollama": ("Restart Ollama", "systemctl restart ollama")
    }


def test_buttons_with_names_that_ascii_does_not_tell_apart_have_keys_of_their_own() -> None:
    keys = list(buttons({"再起動": "reboot", "停止": "poweroff"}, CommandRules()))
    assert len(set(keys)) == 2
    assert all(key.isascii() and " " not in key for key in keys)


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ({"": "true"}, "is no name"),
        ({"x" * 65: "true"}, "is no name"),
        ({"a\nb": "true"}, "is no name"),
        ({"Stop it": "true", "stop-it": "false"}, "'Stop it' and 'stop-it' are too alike"),
        ({"Empty": "  "}, "no plain shell text"),
        ({"Object": '{"command":"ls"}'}, "no plain shell text"),
        ({"Half": '{"command"'}, "cannot be used"),
        ({"Zero": "ls\0"}, "NUL"),
        ({"Lone": "echo \ud800"}, "cannot be used"),
        ({"Long": "x" * 70_000}, "at most"),
    ],
)
def test_what_is_no_button_is_refused_and_said(commands: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=r"home_assistant\.buttons") as refused:
        buttons(commands, CommandRules())
    assert said in str(refused.value)


def test_a_button_whose_command_this_worker_would_not_run_is_refused() -> None:
    listed = CommandRules("listed", ["nvidia-smi **"])
    assert buttons({"Cards": "nvidia-smi -L"}, listed)
    with pytest.raises(SettingError, match="'Reboot' would not run: the command is not on this worker's list"):
        buttons({"Reboot": "reboot"}, listed)
    with pytest.raises(SettingError, match="runs no commands"):
        buttons({"Reboot": "reboot"}, CommandRules("none"))


def test_an_agent_with_such_a_button_says_so_before_it_joins() -> None:
    settings = Settings(
        agent=AgentSettings(commands="none", join="no line at all"),
        home_assistant=HomeAssistantSettings(enabled=True, buttons={"Reboot": "reboot"}),
    )
    with pytest.raises(SettingError, match="'Reboot' would not run"):
        run_agent(settings, None)  # type: ignore[arg-type]
