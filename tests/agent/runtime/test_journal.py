"""The command journal on a real disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import journal as journal_module
from agent.journal import KEEP_DAYS, KEEP_IDS, Journal
from gpumon.commands import Command, CommandResult
from gpumon.errors import StartError


def _opened(path: Path, now: float = 1_766_000_000.0) -> Journal:
    journal = Journal(path, lambda: now)
    journal.open()
    return journal


def _result(command_id: str) -> CommandResult:
    return CommandResult(id=command_id, command="true", state="finished", exit_code=0)


def test_a_taken_command_is_known_and_unfinished_after_a_restart(tmp_path: Path) -> None:
    first = _opened(tmp_path / "j")
    first.take([Command(id="a", command="true", by="lena")])
    first.started("a", 4242, 99)
    second = _opened(tmp_path / "j")  # the first was never closed: it was killed
    assert second.knows("a")
    assert not second.knows("b")
    assert [(entry.id, entry.by, entry.pid, entry.started) for entry in second.unfinished()] == [
        ("a", "lena", 4242, 99)
    ]
    third = _opened(tmp_path / "j")
    assert third.unfinished() == second.unfinished()


def test_a_result_is_kept_until_it_is_delivered(tmp_path: Path) -> None:
    journal = _opened(tmp_path / "j")
    journal.take([Command(id="a", command="true")])
    journal.ended(_result("a"))
    journal = _opened(tmp_path / "j")
    assert journal.unfinished() == []
    assert journal.undelivered() == [_result("a")]
    journal.delivered("a")
    journal = _opened(tmp_path / "j")
    assert journal.undelivered() == []
    assert journal.knows("a")


def test_a_damaged_line_costs_only_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = _opened(tmp_path / "j")
    journal.take([Command(id="a", command="true")])
    journal.close()
    with (tmp_path / "j").open("ab") as file:
        file.write(b'{"id": "torn", "comm\n\x00\x00\xff\n{"id": "b", "time": 1766000000.0}\n{"id": "cut off')
    journal = _opened(tmp_path / "j")
    assert journal.knows("a")
    assert journal.knows("b")
    assert not journal.knows("torn")
    assert caplog.text.count("is damaged") == 3


def test_it_is_bounded_by_number_and_age_but_keeps_what_is_not_done(tmp_path: Path) -> None:
    now = 1_766_000_000.0
    old = _opened(tmp_path / "j", now - (KEEP_DAYS + 1) * 86400)
    old.take([Command(id="old", command="true"), Command(id="old-unfinished", command="true")])
    old.ended(_result("old"))
    old.delivered("old")
    old.take([Command(id="old-undelivered", command="true")])
    old.ended(_result("old-undelivered"))
    journal = _opened(tmp_path / "j", now)
    journal.take([Command(id=f"n{number}", command="true") for number in range(KEEP_IDS + 10)])
    for number in range(KEEP_IDS + 10):
        journal._apply(journal_module.Entry(id=f"n{number}", result=_result(f"n{number}")))
        journal._apply(journal_module.Entry(id=f"n{number}", delivered=True))
    journal._compact()
    journal = _opened(tmp_path / "j", now)
    assert not journal.knows("old")
    assert journal.knows("old-unfinished")
    assert journal.knows("old-undelivered")
    assert not journal.knows("n0")
    assert journal.knows(f"n{KEEP_IDS + 9}")


def test_it_is_made_small_while_the_agent_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_ABOVE_BYTES", 20_000)
    journal = _opened(tmp_path / "j")
    for number in range(200):
        journal.take([Command(id=f"n{number}", command="x" * 500)])
        journal.ended(_result(f"n{number}"))
        journal.delivered(f"n{number}")
    assert (tmp_path / "j").stat().st_size < 40_000
    assert all(journal.knows(f"n{number}") for number in range(200))


def test_a_journal_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    with pytest.raises(StartError, match=r"command journal .* cannot be used"):
        _opened(tmp_path / "j")


def test_others_may_not_read_it(tmp_path: Path) -> None:
    _opened(tmp_path / "j")
    assert (tmp_path / "j").stat().st_mode & 0o077 == 0
