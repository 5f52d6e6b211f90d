"""The command line's own rules: settings are taken wherever people write them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.cli import main


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what the command line does to logging, which is this whole process's."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize("before", [True, False])
def test_a_setting_is_taken_before_and_after_an_action(tmp_path: Path, before: bool) -> None:
    flag = ["--data", str(tmp_path / "data")]
    action = ["add", "w1"]
    assert main(["worker", *flag, *action] if before else ["worker", *action, *flag]) == 0
    assert (tmp_path / "data" / "tokens" / "w1.token").stat().st_mode & 0o777 == 0o600


def test_a_worker_is_added_once_rotated_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    token_file = tmp_path / "tokens" / "w1.token"
    assert main(["worker", "add", "w1", *data]) == 0
    token = token_file.read_text()
    assert (
        f"gpumon agent --master mqtt://127.0.0.1:1883 --worker-id w1 --token-file {token_file}"
        in capsys.readouterr().out
    )
    assert main(["worker", "add", "w1", *data]) != 0
    assert "w1" in capsys.readouterr().err
    assert main(["worker", "add", "w1", "--if-missing", *data]) == 0
    assert token_file.read_text() == token
    assert main(["worker", "rotate", "w1", *data]) == 0
    assert token_file.read_text() != token
    assert main(["worker", "remove", "w1", *data]) == 0
    capsys.readouterr()
    assert main(["worker", "list", *data]) == 0
    assert capsys.readouterr().out == ""


def test_a_person_is_added_with_a_generated_password_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["user", "add", "olaf", "--role", "operator", "--generate", *data]) == 0
    assert "olaf's password: " in capsys.readouterr().out
    assert main(["user", "list", *data]) == 0
    assert "olaf\toperator" in capsys.readouterr().out
    assert main(["user", "remove", "olaf", *data]) == 0
    assert main(["user", "remove", "olaf", *data]) != 0


@pytest.mark.parametrize("worker_id", ["a/b", "a#", "+", "all"])
def test_a_worker_id_that_is_not_allowed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], worker_id: str
) -> None:
    assert main(["worker", "add", worker_id, "--data", str(tmp_path)]) != 0
    assert worker_id in capsys.readouterr().err


def test_help_names_every_flag_of_a_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["agent", "--help"])
    shown = capsys.readouterr().out
    for flag in ("--master", "--worker-id", "--token-file", "--interval", "--label", "--source", "--no-commands"):
        assert flag in shown


def test_a_master_with_a_wrong_rule_in_its_settings_ends_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gpumon.toml").write_text('[alerts.rules.hot]\nabov = "90 °C"\n')
    assert main(["master", "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "gpumon.toml, [alerts.rules]: rule hot has an unknown field abov: did you mean above?" in told
    assert not (tmp_path / "gpumon.db").exists()
