"""What is shown of the fleet, in which order."""

from __future__ import annotations

from dataclasses import replace

from gpumon.cli.top.columns import CARD_COLUMNS, WORKER_COLUMNS
from gpumon.cli.top.fleet import Order, View, sums
from gpumon.cli.top.plain import table
from gpumon.cli.top.search import Search
from gpumon.cli.top.worker_text import worker_text
from gpumon.messages import Process
from tests.gpumon.cli.top.rows import NOW, row, small_fleet, worker
from tests.webui.worker_double import idle, mig, reading

WORKERS = View(is_cards=False, search=Search(""), order=Order())
CARDS = replace(WORKERS, is_cards=True)


def ids(view: View) -> list[str]:
    return [line.row.id for line in view.of(small_fleet())]


def test_workers_are_sorted_as_people_count() -> None:
    assert ids(WORKERS) == ["gpu-1", "gpu-2", "gpu-9", "gpu-10"]
    assert ids(replace(WORKERS, order=Order("worker", descending=True))) == ["gpu-10", "gpu-9", "gpu-2", "gpu-1"]


def test_what_has_no_such_reading_comes_last_either_way() -> None:
    rows = [row("none", [mig(0)]), row("low", [idle(0)]), row("high", [reading(0)])]
    for descending, found in ((False, ["low", "high", "none"]), (True, ["high", "low", "none"])):
        view = replace(WORKERS, order=Order("util", descending=descending))
        assert [line.row.id for line in view.of(rows)] == found


def test_every_column_sorts_and_shows_every_kind_of_line() -> None:
    rows = [*small_fleet(), row("bare", []), row("sliced", [mig(0)])]
    for view, columns in ((WORKERS, WORKER_COLUMNS), (CARDS, CARD_COLUMNS)):
        for column in columns:
            lines = replace(view, order=Order(column.name)).of(rows)
            assert all(isinstance(column.text(line), str) for line in lines)


def test_the_sums_leave_out_what_is_offline() -> None:
    said = sums(small_fleet())
    assert said.startswith("workers 3/4 online · GPUs 3 busy (1 held idle), 2 free of 7 · ")
    assert said.endswith("hottest 88 °C on gpu-10 #0")
    assert sums([]).startswith("workers 0/0 online · GPUs 0 busy, 0 free of 0 · util - · memory - · power -")


def test_the_table_says_who_is_on_which_card_and_which_are_free() -> None:
    rows = small_fleet()
    lines = table(WORKERS.of(rows), rows).splitlines()
    assert lines[2].split()[:3] == ["STATE", "WORKER", "GPUS"]
    assert next(line for line in lines if line.split()[1:3] == ["online", "gpu-10"]).endswith("research 0,1")
    assert "1: 0" in next(line for line in lines if " gpu-9 " in line)
    assert "! GPU lost" in next(line for line in lines if " gpu-2 " in line)


def test_an_empty_fleet_is_told_how_to_begin() -> None:
    assert "gpumon join-key" in table([], [])


def test_a_worker_is_shown_with_its_cards_and_processes() -> None:
    text = worker_text(worker("gpu-10", [reading(0), mig(1)], {"rack": "3"}), NOW)
    assert "rack=3" in text
    assert "612 W / 700" in text
    assert "research" in next(line for line in text.splitlines() if "4242" in line)
    assert "    -" in next(line for line in text.splitlines() if line.startswith("  1"))


def test_a_worker_cannot_steer_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jevil\nline"
    process = Process(pid=1, user=hostile, name=hostile, command=hostile)
    gpus = [reading(0, name=hostile, processes=[process])]
    rows = [row("w", gpus, {hostile: hostile})]
    shown = table(CARDS.of(rows), rows) + table(WORKERS.of(rows), rows) + worker_text(worker("w", gpus), NOW)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert len(table(CARDS.of(rows), rows).splitlines()) == 4
