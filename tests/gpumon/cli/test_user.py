"""`gpumon user` and `gpumon audit` on a data folder."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gpumon.cli import main
from gpumon.cli.fleet_run import RunError
from gpumon.cli.run_audit import note_run
from gpumon.commands import Command
from gpumon.datafolder import DataFolder
from master.account_directory import AccountDirectory

Gpumon = Callable[..., str]


@pytest.fixture
def gpumon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gpumon:
    """Run a subcommand on a data folder of the test's own, and return what it prints."""

    def run(*words: str, code: int = 0) -> str:
        assert main([*words, "--data", str(tmp_path)]) == code
        told = capsys.readouterr()
        return told.out if code == 0 else told.err

    return run


def test_a_user_is_added_limited_changed_and_removed(gpumon: Gpumon, tmp_path: Path) -> None:
    told = gpumon("user", "add", "eve", "--generate", "--role", "operator", "--commands-on", "rack=3")
    password = told.split()[-1]
    assert gpumon("user", "list") == "eve\toperator\tcommands on rack=3\n"
    directory = AccountDirectory(DataFolder(tmp_path))
    before = directory.authenticate("eve", password)
    assert before is not None
    gpumon("user", "change", "eve", "--commands-on", "all")
    assert directory.outdated([before]) == {before}
    assert gpumon("user", "change", "eve", "--role", "viewer") == "eve is viewer now, commands on none\n"
    gpumon("user", "remove", "eve")
    assert gpumon("user", "list") == ""
    directory.close()


def test_a_token_is_printed_once_and_revoked_by_its_id(gpumon: Gpumon, tmp_path: Path) -> None:
    gpumon("user", "add", "eve", "--generate")
    token = gpumon("user", "token", "eve", "--label", "scripts", "--expires", "90d").strip()
    directory = AccountDirectory(DataFolder(tmp_path))
    assert directory.token_owner(token) is not None
    listed = gpumon("user", "tokens")
    assert token not in listed
    token_id, owner, label, _, _ = listed.split("\t")
    assert (owner, label) == ("eve", "scripts")
    gpumon("user", "revoke", token_id)
    assert directory.token_owner(token) is None
    directory.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["change", "eve"], "give --role, --commands-on or both"),
        (["change", "eve", "--role", "viewer"], "is the last admin"),
        (["remove", "eve"], "is the last admin"),
        (["change", "eve", "--commands-on", "rack=3"], "not for role 'admin'"),
        (["change", "nobody", "--role", "viewer"], "there is no user 'nobody'"),
        (["token", "nobody"], "there is no user 'nobody'"),
        (["revoke", "t-nothing"], "there is no token"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(gpumon: Gpumon, words: list[str], told: str) -> None:
    gpumon("user", "add", "eve", "--generate", "--role", "admin")
    code = 2 if words == ["change", "eve"] else 1
    error = gpumon("user", *words, code=code)
    assert told in error
    assert error.count("\n") == 2


def test_the_audit_is_printed_filtered_and_exported(gpumon: Gpumon) -> None:
    gpumon("user", "add", "eve", "--generate")
    gpumon("user", "token", "eve", "--label", "scripts")
    assert [line.split("  ")[3] for line in gpumon("audit").splitlines()] == ["user.added", "token.made"]
    assert [json.loads(line)["action"] for line in gpumon("audit", "--json", "--action", "token").splitlines()] == [
        "token.made"
    ]
    assert gpumon("audit", "--csv", "--who", "nobody").splitlines() == [
        "seq,time,who,origin,address,action,subject,detail"
    ]
    assert len(gpumon("audit", "--since", "1h").splitlines()) == 2


def test_a_run_on_the_masters_machine_is_audited_first_or_not_made(
    gpumon: Gpumon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, command = DataFolder(tmp_path), Command(id="c-1", command="reboot")
    note_run(data, command, ["w1"])  # no master keeps its data there
    assert not data.database.exists()
    gpumon("user", "add", "eve", "--generate")
    note_run(data, command, ["w1", "w2"])
    told = json.loads(gpumon("audit", "--json", "--worker", "w2"))
    assert (told["action"], told["origin"], told["subject"]) == ("command.run", "cli", "c-1")
    assert told["detail"] == {"command": "reboot", "workers": ["w1", "w2"], "timeout_s": 60.0}
    monkeypatch.setattr("master.store.engine_sqlite.BUSY_TIMEOUT_MS", 50)
    other = sqlite3.connect(data.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match="nothing was sent, since the audit cannot be written"):
        note_run(data, command, ["w1"])
    other.close()
