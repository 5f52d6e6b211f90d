"""Which commands a worker runs."""

from __future__ import annotations

import pytest

from agent.command_rules import CommandRefusedError, CommandRules, command_environment
from gpumon.errors import SettingError


def _is_allowed(pattern: str, command: str) -> bool:
    try:
        CommandRules("listed", [pattern]).arguments(command)
    except CommandRefusedError:
        return False
    return True


def test_any_runs_shell_text_and_none_runs_nothing() -> None:
    assert CommandRules("any").arguments("a | b") == ["/bin/sh", "-c", "a | b"]
    with pytest.raises(CommandRefusedError, match="runs no commands"):
        CommandRules("none", ["ls"]).arguments("ls")


def test_listed_gives_the_words_without_a_shell() -> None:
    assert CommandRules("listed", ["echo *"]).arguments("echo 'a b; c'") == ["echo", "a b; c"]


@pytest.mark.parametrize(
    ("pattern", "command", "allowed"),
    [
        ("nvidia-smi", "nvidia-smi", True),
        ("nvidia-smi", "nvidia-smi -L", False),
        ("nvidia-smi *", "nvidia-smi -L", True),
        ("nvidia-smi *", "nvidia-smi", False),
        ("nvidia-smi *", "nvidia-smi -L -x", False),
        ("nvidia-smi **", "nvidia-smi", True),
        ("nvidia-smi **", "nvidia-smi -q -x", True),
        ("systemctl restart ollama*", "systemctl restart ollama.service", True),
        ("systemctl restart ollama*", "systemctl stop ollama", False),
        ("cat /var/log/*", "cat /var/log/nvidia/a.log", True),
        ("cat /var/log/*", "cat /var/log/../../etc/shadow", False),
        ("cat **", "cat ../x", False),
        ("ls", "ls; reboot", False),
        ("ls", "ls 'unclosed", False),
        ("ls", "", False),
        ("*", "LS", True),
        ("ls", "LS", False),
    ],
)
def test_patterns_match_word_by_word(pattern: str, command: str, *, allowed: bool) -> None:
    assert _is_allowed(pattern, command) is allowed


@pytest.mark.parametrize("pattern", ["", "echo 'a", "**"])
def test_a_pattern_that_names_no_program_is_refused_at_start(pattern: str) -> None:
    with pytest.raises(SettingError, match="--allow-command"):
        CommandRules("listed", [pattern])


def test_commands_do_not_see_the_settings_and_secrets_of_gpumon() -> None:
    ours = {"GPUMON_JOIN": "secret", "MASTER_URL": "m", "WORKER_ID": "w", "PATH": "/bin", "HOME": "/root"}
    assert command_environment(ours, GPUMON_SIMULATED="1") == {
        "PATH": "/bin",
        "HOME": "/root",
        "GPUMON_SIMULATED": "1",
    }
