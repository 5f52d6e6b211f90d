"""Which commands a worker runs."""

from __future__ import annotations

import os

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
        ("ls", "ls\nreboot", False),
        ("ls **", "ls\nreboot", True),  # one program with one argument more: nothing takes the line for a command
        ("ls", "ls\\\n", False),
        ("ls *", "ls $(reboot)", True),  # an argument as it stands
        ("ls", "ls #x", False),
        ("ls", "l\u200bs", False),
        ("ls", "\uff4c\uff53", False),
        ("ls", "l\u0455", False),
        ("ls *", "ls\u00a0-l", False),
        ("ls", "\u00a0ls", False),
        ("ls", "ls\0", False),
        ("ls *", "ls a\0b", False),
        ("ls", "'' ls", False),
        ("ls", "PATH=/tmp ls", False),
        ("ls", "./ls", False),
        ("ls", "bin/ls", False),
        ("ls", "/tmp/ls", False),
        ("*ls", "/tmp/ls", False),
        ("*", "/tmp/ls", False),
        ("*", "./ls", False),
        ("nvidia-*", "nvidia-/x", False),
        ("/opt/tools/*", "/opt/tools/check", True),
        ("/opt/tools/*", "/opt/tools/a/check", False),
        ("/opt/tools/*", "/opt/tools/..", False),
        ("/opt/tools/*", "opt/tools/check", False),
        ("tail --file=/var/log/*", "tail --file=/var/log/../../etc/shadow", False),
        ("tail --file=*", "tail --file=../x", False),
        ("scp host:*", "scp host:../x", False),
        ("cat /var/log/*", "cat /var/log/..", False),
        ("cat /var/log/*", "cat /var/log/a..b", True),
        ("cat /var/log/*", "cat '/var/log/a b\n/etc/shadow'", True),  # a single name, however odd
        ("cat /var/log/*", "cat /var/log/a /etc/shadow", False),
        ("cat [a-c]", "cat [a-c]", True),
        ("cat [!a]", "cat b", True),
        ("ls", "LS", False),
    ],
)
def test_patterns_match_word_by_word(pattern: str, command: str, *, allowed: bool) -> None:
    assert _is_allowed(pattern, command) is allowed


@pytest.mark.parametrize("pattern", ["", "echo 'a", "**", "''", "'' x"])
def test_a_pattern_that_names_no_program_is_refused_at_start(pattern: str) -> None:
    with pytest.raises(SettingError, match="--allow-command"):
        CommandRules("listed", [pattern])


@pytest.mark.parametrize("pattern", ["./check", "bin/check *", "../check"])
def test_a_pattern_with_half_a_path_is_refused_at_start(pattern: str) -> None:
    with pytest.raises(SettingError, match="half a path"):
        CommandRules("listed", [pattern])


def test_a_nul_is_refused_in_shell_text_as_well() -> None:
    with pytest.raises(CommandRefusedError, match="NUL"):
        CommandRules("any").arguments("ls\0")


def test_a_very_long_command_is_decided_quickly() -> None:
    hostile = "a" * 20 + " " + "*a" * 30_000
    assert not _is_allowed("cat " + "*a" * 20 + "b", f"cat {hostile}")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/usr/bin:/bin", "/usr/bin:/bin"),
        ("", os.defpath),
        (":/bin", "/bin"),
        ("/bin:", "/bin"),
        (".:/bin:tools", "/bin"),
        ("tools", os.defpath),
    ],
)
def test_programs_are_looked_for_in_whole_paths_alone(path: str, kept: str) -> None:
    assert command_environment({"PATH": path})["PATH"] == kept


def test_commands_do_not_see_what_is_for_the_agent_alone() -> None:
    agents = {
        "GPUMON_JOIN": "secret",
        "GPUMON_AGENT_PASSWORD_FILE": "f",
        "MASTER_URL": "m",
        "WORKER_ID": "w",
        "CREDENTIALS_DIRECTORY": "/run/credentials/gpumon-agent.service",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_PID": "1",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
        "JOURNAL_STREAM": "8:1",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "PATH": "/bin",
        "HOME": "/root",
        "HTTP_PROXY": "http://proxy:3128",
        "MASTER_URLS": "not ours",
    }
    assert command_environment(agents, GPUMON_SIMULATED="1") == {
        "PATH": "/bin",
        "HOME": "/root",
        "HTTP_PROXY": "http://proxy:3128",
        "MASTER_URLS": "not ours",
        "GPUMON_SIMULATED": "1",
    }
