"""What must not disturb history: wrong clocks, samples twice or out of order, cards that change places, a full disk."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import event, update

from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading, HostReading
from master.events import HistoryProblemChanged
from master.history.blocks import Damages
from master.history.history import MAX_CARDS
from master.store.engine import Store
from master.store.models import HistoryBlockRow
from tests.master.history_support import HOUR_S, MIDNIGHT, HistoryRun, card, count, running
from tests.support import eventually


@pytest.fixture
def run(store: Store) -> Iterator[HistoryRun]:
    with running(store) as started:
        yield started


def minutes(run: HistoryRun) -> dict[float, tuple[float | None, ...]]:
    """Return the minutes since midnight, by their number."""
    assert run.writer.flush()
    return {(at - MIDNIGHT) / 60: point for at, point in run.power(2 * HOUR_S, points=120, end=run.now).items()}


@pytest.mark.parametrize("off_s", [3600.0, -3600.0, 1e12, -1e12])
def test_a_wrong_clock_moves_nothing(run: HistoryRun, off_s: float) -> None:
    for _ in range(24):
        run.tell(card(300.0), time=run.now + off_s)
        run.tell(card(100.0), worker="w2")
        run.to(run.now + 5)
    assert minutes(run) == {0: (300.0, 300.0, 300.0), 1: (300.0, 300.0, 300.0)}
    assert run.ask(120, "power_w", worker="w2").series["power_w"].mean == [100.0] * 24
    assert run.ask(120, "power_w").time == run.ask(120, "power_w", worker="w2").time


def test_a_clock_that_is_set_right_goes_on_where_it_was(run: HistoryRun) -> None:
    for off_s in (3600.0, 0.0):
        for _ in range(12):
            run.tell(card(300.0), time=run.now + off_s)
            run.to(run.now + 5)
    assert minutes(run) == {0: (300.0, 300.0, 300.0), 1: (300.0, 300.0, 300.0)}


def test_a_clock_that_is_set_an_hour_back_while_the_worker_runs_costs_a_minute(run: HistoryRun) -> None:
    for off_s in (0.0, -3600.0, -3600.0):
        for _ in range(12):
            run.tell(card(300.0), time=run.now + off_s)
            run.to(run.now + 5)
    assert set(minutes(run)) == {0, 2}


def test_a_sample_that_comes_twice_counts_once(run: HistoryRun) -> None:
    first = run.tell(card(100.0))
    run.to(run.now + 5)
    second = run.tell(card(500.0))
    for again in (second, second, first):
        run.repeat(again)
    run.to(MIDNIGHT + 60)
    assert minutes(run) == {0: (300.0, 100.0, 500.0)}
    assert run.history.repeated_samples == 3


def test_a_sample_out_of_order_counts_where_it_belongs(run: HistoryRun) -> None:
    run.tell(card(100.0))
    run.now += 15
    run.tell(card(300.0))
    run.tell(card(200.0), time=run.now - 8)
    answer = run.ask(60, "power_w", end=run.now + 1)
    assert answer.series["power_w"].mean == [100.0, 200.0, 300.0]


def test_a_late_sample_still_counts_in_a_minute_that_is_over_but_not_in_an_older_one(run: HistoryRun) -> None:
    run.tell(card(100.0))
    run.to(MIDNIGHT + 60)
    assert minutes(run) == {0: (100.0, 100.0, 100.0)}
    run.to(MIDNIGHT + 75)
    run.tell(card(500.0))
    run.tell(card(300.0), time=MIDNIGHT + 30)
    run.to(MIDNIGHT + 120)
    assert minutes(run) == {0: (200.0, 100.0, 300.0), 1: (500.0, 500.0, 500.0)}
    run.tell(card(900.0))
    run.tell(card(900.0), time=MIDNIGHT + 40)
    run.to(MIDNIGHT + 130)
    assert minutes(run)[0] == (200.0, 100.0, 300.0)
    assert run.history.late_samples == 1


def test_history_follows_the_card_not_its_index(run: HistoryRun) -> None:
    run.tell(card(100.0, uuid="GPU-a", index=0), card(200.0, uuid="GPU-b", index=1))
    run.to(MIDNIGHT + 60)
    run.tell(card(200.0, uuid="GPU-b", index=0), card(300.0, uuid="GPU-c", index=1))
    run.to(MIDNIGHT + 120)
    assert run.writer.flush()

    def means(uuid: str) -> list[float | None]:
        return run.ask(120, "power_w", key=uuid, points=2).series["power_w"].mean

    assert means("GPU-a") == [100.0, None]
    assert means("GPU-b") == [200.0, 200.0]
    assert means("GPU-c") == [None, 300.0]


def test_a_card_in_another_machine_begins_a_history_there(run: HistoryRun) -> None:
    run.tell(card(100.0), worker="w1")
    run.to(MIDNIGHT + 60)
    run.tell(card(200.0), worker="w2")
    run.to(MIDNIGHT + 120)
    assert run.writer.flush()
    assert run.ask(120, "power_w", worker="w1", points=2).series["power_w"].mean == [100.0, None]
    assert run.ask(120, "power_w", worker="w2", points=2).series["power_w"].mean == [None, 200.0]


def test_absurd_readings_spoil_neither_their_minute_nor_the_other_cards(run: HistoryRun) -> None:
    run.tell(
        GpuReading(uuid="GPU-0", power_w=1e300, memory_used_bytes=10**300, temperature_c=-(10**300)),
        card(100.0, uuid="GPU-1"),
        host=HostReading(cpu_percent=1e300, network_rx_bytes_per_s=10**300),
    )
    run.to(MIDNIGHT + 60)
    assert run.writer.flush()
    assert run.ask(60, "power_w", key="GPU-1", points=10, end=MIDNIGHT + 60).series["power_w"].mean == [100.0]
    assert run.history.problem is None


def test_a_worker_that_invents_cards_is_cut_off_and_told_once(
    run: HistoryRun, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(4):
            run.tell(*(card(1.0, uuid=f"GPU-{number}-{place}") for place in range(250)))
            run.to(run.now + 5)
    assert len(run.history.cards("w1")) == MAX_CARDS
    assert len([record for record in caplog.records if "no history is kept of more" in record.message]) == 1


def test_a_block_that_is_damaged_is_a_gap_and_the_others_are_answered(
    run: HistoryRun, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("master.history.rolled_query.damages", Damages())  # nothing was told yet
    for _ in range(3):
        run.tell(card(100.0))
        run.to(run.now + HOUR_S)
    run.to(run.now + 600)
    run.settle()
    with store.write() as connection:
        these = HistoryBlockRow.step_s == 60, HistoryBlockRow.start == int(MIDNIGHT + HOUR_S)
        connection.execute(update(HistoryBlockRow).where(*these).values(data=b"\x00\xff"))
    found = run.power(4 * HOUR_S, points=240)
    assert {(at - MIDNIGHT) / HOUR_S for at in found} == {0, 2}
    assert "cannot be read" in caplog.text


@pytest.mark.sqlite
def test_a_full_disk_is_told_nothing_stored_is_lost_and_minutes_follow_when_there_is_space(
    store: Store, data: DataFolder, run: HistoryRun
) -> None:
    told: list[str | None] = []
    run.bus.subscribe(HistoryProblemChanged, lambda change: told.append(change.problem))
    full = False

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 2**31 - 2
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(store.engine, "connect", limit)
    run.tell(card(100.0))
    run.to(MIDNIGHT + 60)
    assert run.writer.flush()
    full = True
    store.engine.dispose()
    for minute in range(1, 40):
        run.tell(*(card(100.0 + minute, uuid=f"GPU-{number}") for number in range(100)))
        run.to(MIDNIGHT + 60 * (minute + 1))
    assert eventually(lambda: run.history.problem)
    run.to(run.now + 1)
    assert run.ask(60, "power_w").source == "raw"  # the live view goes on
    with closing(sqlite3.connect(data.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM history_minutes WHERE start = ?", (MIDNIGHT,)).fetchone() == (
            1,
        )

    full = False
    store.engine.dispose()
    assert run.writer.flush(10)
    run.to(run.now + 1)
    assert count(store, "history_minutes") == 40
    assert run.history.problem is None
    assert told[0] is not None
    assert told[0].startswith("history is not being kept: database ")
    assert told[-1] is None
