"""Keeping history and asking for it: what is raw, what is rolled up, what is a gap, and what lasts for how long."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator

import pytest

from gpumon.datafolder import DataFolder
from gpumon.settings import HistorySettings
from master.events import WorkerRemoved
from master.store.engine import Store
from tests.master.history_support import DAY_S, HOST, HOUR_S, MIDNIGHT, HistoryRun, card, count, host, running


@pytest.fixture
def run(store: Store) -> Iterator[HistoryRun]:
    with running(store) as started:
        yield started


def work(run: HistoryRun, seconds: float, power_w: float = 100.0, step_s: float = 5.0) -> None:
    """Let time pass with a sample at each step."""
    end = run.now + seconds
    while run.now < end:
        run.tell(card(power_w), interval_s=step_s)
        run.to(run.now + step_s)


def test_samples_of_the_last_while_come_as_they_were_taken(run: HistoryRun) -> None:
    for power_w in (100.0, 250.5, 30.0):
        run.tell(card(power_w))
        run.to(run.now + 5)
    answer = run.ask(60, "power_w")
    assert answer.source == "raw"
    assert answer.step_s == 5
    assert answer.time == [MIDNIGHT, MIDNIGHT + 5, MIDNIGHT + 10]
    assert answer.series["power_w"].mean == answer.series["power_w"].max == [100.0, 250.5, 30.0]


def test_more_samples_than_points_are_gathered_with_their_spread(run: HistoryRun) -> None:
    for number in range(40):
        run.tell(card(100.0 + number % 4))
        run.to(run.now + 5)
    answer = run.ask(200, "power_w", points=10)
    assert answer.source == "raw"
    assert answer.step_s == 20
    assert answer.series["power_w"].mean == [101.5] * 10
    assert answer.series["power_w"].min == [100.0] * 10
    assert answer.series["power_w"].max == [103.0] * 10


def test_a_minute_is_kept_once_it_is_over_with_mean_lowest_and_highest(store: Store, run: HistoryRun) -> None:
    for power_w in (100.0, 200.0, 600.0):
        run.tell(card(power_w))
        run.to(run.now + 5)
    assert run.writer.flush()
    assert count(store, "history_minutes") == 0
    run.to(MIDNIGHT + 60)
    assert run.writer.flush()
    assert count(store, "history_minutes") == 1
    assert run.power(DAY_S)[MIDNIGHT // 180 * 180] == (300.0, 100.0, 600.0)


def test_the_running_minute_is_told_as_far_as_it_has_come(run: HistoryRun) -> None:
    work(run, 90, 300.0)
    assert run.power(HOUR_S, points=60)[MIDNIGHT + 60] == (300.0, 300.0, 300.0)


def test_hours_are_folded_into_all_resolutions(store: Store, run: HistoryRun) -> None:
    for hour in range(3):
        work(run, HOUR_S, 100.0 * (hour + 1), step_s=20.0)
    work(run, 600.0, 400.0, step_s=20.0)
    run.settle()

    assert count(store, "history_minutes") == 10
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT step_s, count(*) FROM history_blocks GROUP BY step_s ORDER BY step_s")
        assert [tuple(row) for row in rows] == [(60, 3), (600, 1), (3600, 1)]
    by_source = {}
    for span_s, points in ((4 * HOUR_S, 240), (10 * DAY_S, 2000), (20 * DAY_S, 480)):
        answer = run.ask(span_s, "power_w", points=points)
        by_source[answer.source] = [value for value in answer.series["power_w"].mean if value is not None]
    assert by_source["1min"] == [100.0] * 60 + [200.0] * 60 + [300.0] * 60 + [400.0] * 10
    assert by_source["10min"] == [100.0] * 6 + [200.0] * 6 + [300.0] * 6 + [400.0]
    assert by_source["1h"] == [100.0, 200.0, 300.0, 400.0]


def test_several_buckets_make_one_point_each_by_its_samples(run: HistoryRun) -> None:
    for _ in range(9):
        run.tell(card(100.0))
        run.to(run.now + 5)
    run.to(MIDNIGHT + 60)
    run.tell(card(200.0))
    run.to(MIDNIGHT + 180)
    assert run.writer.flush()
    assert run.power(DAY_S)[MIDNIGHT] == (110.0, 100.0, 200.0)


def test_what_was_not_measured_is_a_gap_and_a_true_0_is_0(run: HistoryRun) -> None:
    run.tell(card(0.0, utilization_percent=None))
    run.to(MIDNIGHT + 120)
    run.tell(card(None, utilization_percent=0))
    run.to(MIDNIGHT + 240)
    assert run.writer.flush()
    answer = run.ask(240.0, "power_w", "utilization_percent", "fan_percent", points=10, end=MIDNIGHT + 240)
    rolled = run.ask(HOUR_S, "power_w", "utilization_percent", "fan_percent", points=60)
    assert answer.source == "raw"
    assert answer.series["power_w"].mean == [0.0, None, None]
    assert answer.series["utilization_percent"].mean == [None, None, 0.0]
    assert rolled.source == "1min"
    assert [v for v in rolled.series["power_w"].mean if v is not None] == [0.0]
    assert [v for v in rolled.series["utilization_percent"].max if v is not None] == [0.0]
    assert set(rolled.series["fan_percent"].mean) == {None}


def test_an_absence_is_a_gap_in_every_resolution(run: HistoryRun) -> None:
    work(run, 2 * HOUR_S, 100.0, step_s=20.0)
    run.to(run.now + HOUR_S)
    work(run, 2 * HOUR_S, 100.0, step_s=20.0)
    run.to(run.now + 600.0)
    run.settle()
    gap = (MIDNIGHT + 2 * HOUR_S, MIDNIGHT + 3 * HOUR_S)
    for span_s, points in ((6 * HOUR_S, 360), (10 * DAY_S, 2000), (20 * DAY_S, 480)):
        answer = run.ask(span_s, "power_w", points=points)
        in_gap = [v for at, v in zip(answer.time, answer.series["power_w"].mean, strict=True) if gap[0] <= at < gap[1]]
        around = [
            v
            for at, v in zip(answer.time, answer.series["power_w"].mean, strict=True)
            if MIDNIGHT <= at < gap[0] or gap[1] <= at < MIDNIGHT + 5 * HOUR_S
        ]
        assert in_gap
        assert set(in_gap) == {None}
        assert set(around) == {100.0}


def test_a_gap_between_raw_samples_has_an_empty_point(run: HistoryRun) -> None:
    run.tell(card(100.0))
    run.to(run.now + 5)
    run.tell(card(100.0))
    run.to(run.now + 60)
    run.tell(card(100.0))
    answer = run.ask(120, "power_w", end=run.now + 1)
    assert answer.series["power_w"].mean == [100.0, 100.0, None, 100.0]


def test_the_coarsest_resolution_that_gives_the_points_is_taken_and_a_coarser_one_where_that_is_not_kept(
    run: HistoryRun,
) -> None:
    work(run, 600.0)
    assert run.ask(600.0).source == "raw"
    assert run.ask(HOUR_S, points=30).source == "1min"
    assert run.ask(DAY_S, points=500).source == "1min"
    assert run.ask(DAY_S, points=144).source == "10min"
    assert run.ask(7 * DAY_S, points=5000).source == "10min"
    assert run.ask(30 * DAY_S, points=500).source == "1h"
    assert run.ask(30 * DAY_S, points=5000).source == "1h"


def test_no_answer_has_more_points_than_asked_for_and_the_one_that_is_cut(run: HistoryRun) -> None:
    work(run, 300.0)
    for span_s in (7.0, 61.0, 299.0, 3601.0, 86_399.0, 1_209_600.0, 34_560_000.0):
        for points in (10, 37, 500):
            assert len(run.ask(span_s, points=points, end=run.now - 3.3).time) <= points + 1


def test_a_question_about_thousands_of_years_is_answered_with_what_can_be_kept(run: HistoryRun) -> None:
    work(run, 120.0)
    answer = run.ask(2e11, "power_w", points=100_000, end=2e11)
    assert [value for value in answer.series["power_w"].mean if value is not None] == [100.0]
    assert len(answer.time) < 10_000
    assert set(run.ask(100.0, "power_w", end=1000.0).series["power_w"].mean) <= {None}


def test_the_host_has_a_history_of_its_own(run: HistoryRun) -> None:
    run.tell(host=host(cpu_percent=12.5, load_1m=3.25, network_rx_bytes_per_s=25_600))
    series = run.ask(60, key=HOST, end=run.now + 1).series
    assert series["cpu_percent"].mean == [12.5]
    assert series["load_1m"].mean == [3.25]
    assert series["network_rx_bytes_per_s"].mean == [25_600]
    assert series["memory_used_bytes"].mean == [None]


def test_a_minute_that_a_restart_has_cut_is_one_minute(store: Store) -> None:
    with running(store) as before:
        for _ in range(6):
            before.tell(card(100.0))
            before.to(before.now + 5)
    with running(store, now=MIDNIGHT + 40) as after:
        after.tell(card(700.0))
        after.tell(card(700.0))
        after.to(MIDNIGHT + 60)
        assert after.writer.flush()
        assert after.power(HOUR_S, points=60)[MIDNIGHT] == (250.0, 100.0, 700.0)


def test_minutes_that_were_never_folded_are_after_a_restart(store: Store) -> None:
    with running(store) as before:
        work(before, HOUR_S, 100.0, step_s=20.0)
        before.writer.flush()
    with running(store, now=MIDNIGHT + DAY_S) as after:
        after.settle()
        assert count(store, "history_minutes") == 0
        assert len(after.power(2 * DAY_S, points=5000)) == 6
        assert after.ask(2 * DAY_S, points=5000).source == "10min"


def test_raw_memory_stays_within_its_budget_by_a_shorter_window(store: Store) -> None:
    chance = random.Random(1)
    with running(store, settings=HistorySettings(raw_memory_mib=1)) as run:
        for _ in range(300):
            run.tell(
                *(
                    card(
                        chance.uniform(50, 700),
                        uuid=f"GPU-{n}",
                        memory_used_bytes=chance.randrange(2**39),
                        sm_clock_mhz=chance.randrange(2**16),
                        fan_percent=chance.randrange(2**16),
                    )
                    for n in range(250)
                )
            )
            run.to(run.now + 5)
        assert run.writer.flush()
        assert run.history.raw_bytes <= 2**20
        assert 60 < run.history.raw_window_s < 1500
        assert run.ask(run.history.raw_window_s / 2).source == "raw"
        assert run.ask(1500.0).source == "1min"


def test_raw_memory_can_be_turned_off(store: Store) -> None:
    with running(store, settings=HistorySettings(raw_memory_mib=0)) as run:
        work(run, 120.0)
        assert run.history.raw_bytes == 0
        assert run.history.raw_window_s == 0
        assert run.ask(120.0).source == "1min"


def test_the_window_is_as_long_as_set_and_older_samples_go(store: Store) -> None:
    with running(store, settings=HistorySettings(raw_window_s=600.0)) as run:
        work(run, 1800.0)
        assert run.history.raw_window_s == 600.0
        assert run.ask(590.0).source == "raw"
        assert run.writer.flush()
        assert run.ask(1000.0).source == "1min"


@pytest.mark.sqlite
def test_what_is_kept_longer_than_set_is_deleted_and_its_space_goes_back_to_the_disk(
    store: Store, data: DataFolder
) -> None:
    settings = HistorySettings(minute_hours=1)
    with running(store, settings=settings) as run:
        for minute in range(6 * 60 + 6):
            run.tell(*(card(100.0 + (minute * n * 7) % 311, uuid=f"GPU-{n}") for n in range(40)))
            run.to(run.now + 60)
            if minute % 60 == 10:
                run.settle()
        run.settle()
        before = size(data)
        run.history.prune(run.now)
        assert run.writer.flush(30)
        with store.read() as connection:
            query = "SELECT step_s, min(start), max(start) FROM history_blocks GROUP BY step_s"
            rows = {
                row[0]: ((row[1] - MIDNIGHT) / HOUR_S, (row[2] - MIDNIGHT) / HOUR_S)
                for row in connection.exec_driver_sql(query)
            }
        assert rows[60] == (5.0, 5.0)
        assert rows[600] == (0.0, 0.0)
        assert size(data) < before * 0.7


def size(data: DataFolder) -> int:
    """Return the size of the database file, after what is in the log beside it has been brought into it."""
    with sqlite3.connect(data.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return data.database.stat().st_size


def test_a_removed_worker_leaves_no_history(store: Store, run: HistoryRun) -> None:
    work(run, HOUR_S + 600, step_s=20.0)
    run.settle()
    run.bus.publish(WorkerRemoved("w1"))
    assert run.writer.flush()
    assert count(store, "history_minutes") == count(store, "history_blocks") == 0
    assert run.history.cards("w1") == set()
    assert run.power(HOUR_S) == {}


def test_cards_are_listed_those_that_have_gone_too(run: HistoryRun) -> None:
    run.tell(card(uuid="GPU-old"))
    run.to(run.now + 2 * HOUR_S)
    run.tell(card(uuid="GPU-new"), host=host(cpu_percent=1.0))
    run.to(run.now + 60)
    run.settle()
    assert run.history.cards("w1") == {"GPU-old", "GPU-new", HOST}
    assert run.history.cards("w2") == set()
