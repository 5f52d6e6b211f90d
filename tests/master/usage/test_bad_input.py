"""Clocks that are off, samples that come twice or late, counters that jump, and names that are meant to hurt."""

from __future__ import annotations

import logging

import pytest

from gpumon.messages import Metrics
from master.events import ReadingsArrived
from master.store.engine import Store
from master.usage.book import MAX_LINES
from master.usage.spans import MAX_CARDS
from tests.master.usage.support import HOUR_S, MIDNIGHT, UsageRun, card, count, process, running


def repeat(run: UsageRun, sample: Metrics) -> None:
    """Have this sample arrive now."""
    run.bus.publish(ReadingsArrived("w1", sample, run.now))


@pytest.mark.parametrize("ahead_s", [-HOUR_S, HOUR_S, 400 * 24 * HOUR_S])
def test_a_clock_that_is_off_moves_nothing(store: Store, ahead_s: float) -> None:
    with running(store) as run:
        for _ in range(21):
            run.to(run.now + 5)
            run.tell(card(process("chen")), time=run.now + ahead_s)

        assert run.seconds() == {"chen": 100}


def test_samples_that_come_twice_or_late_count_once(store: Store) -> None:
    with running(store) as run:
        samples = []
        for _ in range(21):
            run.to(run.now + 5)
            samples.append(run.tell(card(process("chen"))))
        for sample in (*samples[5:], *reversed(samples)):
            repeat(run, sample)

        assert run.seconds() == {"chen": 100}


def test_samples_that_overtake_each_other_count_once(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.to(run.now + 10)
        run.tell(card(process("chen")))
        run.tell(card(process("lena")), time=run.now - 5)
        run.to(run.now + 5)
        run.tell(card(process("chen")))

        assert run.seconds() == {"chen": 15}


def test_a_master_whose_clock_is_set_back_goes_on(store: Store) -> None:
    with running(store, MIDNIGHT + 3 * HOUR_S) as run:
        run.tell(card(process("chen")))
        run.run(100, card(process("chen")))
        run.to(run.now - 2 * HOUR_S)
        run.tell(card(process("chen")))
        run.run(100, card(process("chen")))

        assert run.seconds(end=MIDNIGHT + 4 * HOUR_S) == {"chen": 200}


def test_the_energy_counter_is_believed_only_as_far_as_the_card_may_draw(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen"), energy_j=1e6, power_w=None))
        joules = 0.0
        #  as usual, a reset (driver loaded again), as usual, absurd, as usual
        for energy_j, power_w, counted in (
            (1e6 + 1500, None, 1500),
            (700.0, 300.0, 1500),
            (2200.0, None, 1500),
            (1e15, 200.0, 1000),
            (1e15 + 1000, None, 1000),
            (-1e300, None, 0),
            (5.0, 1e300, 2 * 700 * 5),
        ):
            run.to(run.now + 5)
            run.tell(card(process("chen"), energy_j=energy_j, power_w=power_w, power_limit_w=700.0))
            joules += counted

        assert run.ask()["chen"].energy_kwh == pytest.approx(joules / 3.6e6, rel=1e-3)


def test_a_card_that_is_swapped_for_another_begins_anew(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen"), uuid="GPU-old", energy_j=5e9))
        run.run(50, card(process("chen"), uuid="GPU-old", energy_j=5e9))
        run.tell(card(process("chen"), uuid="GPU-new", energy_j=10.0))
        run.run(50, card(process("chen"), uuid="GPU-new", energy_j=10.0))

        assert run.seconds() == {"chen": 100}
        assert run.ask()["chen"].energy_kwh == 0


def test_one_card_listed_twice_in_a_sample_counts_once(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.run(50, card(process("chen")), card(process("lena")))

        assert run.seconds() == {"chen": 50}


def test_memory_beyond_what_the_card_has_is_cut(store: Store) -> None:
    with running(store) as run:
        run.tell(card())
        run.run(360, card(process("chen", 1e18), memory_total_bytes=None))
        run.run(360, card(process("lena", 1e18)))
        run.settle()

        found = run.ask()
        assert found["lena"].memory_gib_hours == pytest.approx(14.1, rel=1e-3)
        assert found["chen"].memory_gib_hours == pytest.approx(1.6 * 1024, rel=1e-3)


def test_users_without_number_are_kept_as_others_and_told_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with running(store) as run, caplog.at_level(logging.WARNING):
        run.tell(card())
        for number in range(MAX_LINES + 200):
            run.run(5, card(process(f"made-up-{number}")))
        run.settle()

        found = run.seconds()
        assert len(found) <= MAX_LINES + 2
        assert sum(found.values()) == pytest.approx(5 * (MAX_LINES + 200))
        assert found["others"] > 0
        assert "too many users, models or labels" in caplog.text


def test_cards_without_number_are_passed_over(store: Store) -> None:
    with running(store) as run:
        for round_ in range(3):
            run.to(run.now + 5)
            for part in range(4):
                cards = [card(uuid=f"GPU-{round_}-{part}-{number}") for number in range(200)]
                run.tell(*cards, card(process("chen")))

        assert len(run.usage._workers["w1"].spans._cards) <= MAX_CARDS


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A1", "a\x00b", "\u202eevil", "<script>alert(1)</script>", "'; DROP TABLE usage; --", " "]
)
def test_hostile_names_are_kept_as_text(store: Store, name: str) -> None:
    with running(store) as run:
        run.labels = {"w1": {name: name}}
        run.tell(card(process(name), name=name))
        run.run(50, card(process(name), name=name))
        run.settle()

        (kept,) = run.seconds()
        assert kept is not None
        assert kept.isprintable()
        assert kept == name.strip() or "?" in kept or kept == "unknown"
        assert sum(run.seconds(by="model").values()) == 50
        assert count(store, "usage WHERE step_s = 3600") == 1


def test_a_database_that_cannot_be_written_loses_nothing_that_is_in_memory(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.writer.problem = "the disk is full"
        run.run(100, card(process("chen")))

        assert run.usage.problem == "usage is not being kept: the disk is full"
        assert run.seconds() == {"chen": 100}
