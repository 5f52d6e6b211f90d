"""Who held what for how long, and what it took."""

from __future__ import annotations

import pytest

from gpumon.messages import GpuReading, MigDevice
from gpumon.settings import UsageSettings
from master.events import WorkerRemoved
from master.store.engine import Store
from master.usage.query import Prices
from tests.master.usage.support import DAY_S, GIB, HOUR_S, MIDNIGHT, card, count, process, running


def test_a_user_holds_a_card_for_as_long_as_samples_show_his_process(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.run(600, card(process("chen")))
        run.run(300, card(busy=0))

        assert run.seconds() == {"chen": 600, "nobody": 300}
        assert run.seconds("busy_hours")["chen"] == 600
        assert run.ask()["chen"].memory_gib_hours == pytest.approx(10 * 600 / 3600, rel=1e-4)
        assert run.ask()["chen"].energy_kwh == pytest.approx(0.36 * 600 / 3600, rel=1e-4)
        assert run.ask()["nobody"].free_energy_kwh == pytest.approx(0.36 * 300 / 3600, rel=1e-4)


def test_a_card_that_does_nothing_for_its_holder_is_held_idle(store: Store) -> None:
    with running(store) as run:
        run.tell(card())
        run.run(100, card(process("chen"), busy=4))
        run.run(100, card(process("chen"), busy=5))

        found = run.ask()["chen"]
        assert found.idle_hours == pytest.approx(100 / 3600, rel=1e-4)
        assert found.busy_hours == pytest.approx(100 / 3600, rel=1e-4)


def test_several_users_split_a_card_by_memory_and_its_work_by_what_each_does(store: Store) -> None:
    shared = card(process("chen", 30, sm=0), process("lena", 10, sm=80, pid=2))
    with running(store) as run:
        run.tell(shared)
        run.run(400, shared)

        assert run.seconds() == {"chen": 300, "lena": 100}
        assert run.seconds("busy_hours") == {"chen": 0, "lena": 400}
        assert run.ask()["lena"].energy_kwh == pytest.approx(0.36 * 400 / 3600, rel=1e-4)
        assert run.ask()["chen"].energy_kwh == 0
        assert run.ask()["chen"].memory_gib_hours == pytest.approx(30 * 400 / 3600, rel=1e-4)


def test_users_whose_memory_is_not_known_split_a_card_evenly(store: Store) -> None:
    shared = card(process("chen", None), process("chen", 9), process("lena", 1), memory_used_bytes=30 * GIB)
    with running(store) as run:
        run.tell(shared)
        run.run(400, shared)

        assert run.seconds() == {"chen": 200, "lena": 200}
        assert run.ask()["lena"].memory_gib_hours == pytest.approx(15 * 400 / 3600, rel=1e-4)


def test_a_process_without_a_user_is_of_the_unknown_and_work_without_a_process_too(store: Store) -> None:
    with running(store) as run:
        run.tell(card())
        run.run(100, card(process(None)), card(busy=70, uuid="GPU-1"))
        run.run(100, card(process(None)), card(busy=70, uuid="GPU-1"))

        assert run.seconds() == {"unknown": 395}


def test_an_account_called_nobody_is_not_taken_for_nobody(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("nobody")))
        run.run(100, card(process("nobody")))

        assert run.seconds() == {"nobody (account)": 100}


def test_a_display_server_alone_does_not_hold_a_card(store: Store) -> None:
    screen = process("root", 0.1, type="graphics")
    with running(store) as run:
        run.tell(card())
        run.run(100, card(screen, busy=1))
        run.run(100, card(screen, process("chen")))
        run.run(100, card(screen, busy=40))

        assert run.seconds() == {"nobody": 100, "chen": 100, "root": 100}


def test_mig_devices_are_held_by_their_size_and_free_ones_by_nobody(store: Store) -> None:
    devices = [
        MigDevice(uuid="MIG-1", memory_total_bytes=30 * GIB),
        MigDevice(uuid="MIG-2", memory_total_bytes=20 * GIB),
        MigDevice(uuid="MIG-3", memory_total_bytes=10 * GIB),
    ]
    cut = card(
        process("chen", 5, mig_uuid="MIG-1"),
        process("lena", 2, mig_uuid="MIG-2"),
        process("chen", 2, mig_uuid="MIG-2"),
        busy=None,
        mig_devices=devices,
    )
    with running(store) as run:
        run.tell(cut)
        run.run(600, cut)

        assert run.seconds() == {"chen": 400, "lena": 100, "nobody": 100}
        found = run.ask()
        assert found["chen"].busy_hours is None  # MIG has no utilization
        assert found["chen"].idle_hours is None
        assert found["nobody"].free_energy_kwh == pytest.approx(0.36 * 100 / 3600, rel=1e-4)


def test_time_in_which_nothing_came_is_nobodys_and_not_even_nobodys(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.run(60, card(process("chen")))
        run.to(run.now + 600)
        run.tell(card(process("chen")))
        run.run(60, card(process("chen")))
        run.run(60, GpuReading(uuid="GPU-0", state="lost"))
        run.run(60, card(process("chen")))

        assert run.seconds() == {"chen": 175}


def test_a_card_that_is_asleep_is_free(store: Store) -> None:
    asleep = GpuReading(uuid="GPU-0", state="asleep", name="NVIDIA H200")
    with running(store) as run:
        run.tell(asleep)
        run.run(100, asleep)

        assert run.seconds() == {"nobody": 100}
        assert run.ask()["nobody"].free_energy_kwh is None
        assert run.ask()["nobody"].metered_hours == 0


def test_an_hour_ends_within_a_span(store: Store) -> None:
    with running(store, MIDNIGHT + 3600 - 2) as run:
        run.tell(card(process("chen")))
        run.run(5, card(process("chen")))

        assert run.seconds(end=MIDNIGHT + 3598) == {"chen": 2}
        assert run.seconds(start=MIDNIGHT + 3600) == {"chen": 3}


def test_groups_are_by_worker_model_and_the_labels_of_that_time(store: Store) -> None:
    with running(store) as run:
        run.labels = {"w1": {"rack": "3"}}
        run.tell(card(process("chen")))
        run.run(100, card(process("chen")))
        run.labels = {"w1": {"rack": "4"}}
        run.run(50, card(process("lena")))
        run.tell(card(process("lena"), name="NVIDIA L4"), worker="w2")
        run.run(10, card(busy=0, name="NVIDIA L4"), worker="w2")
        run.settle()

        by_rack = run.ask("label", "rack")
        assert {name: round(3600 * (each.held_hours + each.free_hours)) for name, each in by_rack.items()} == {
            "3": 100,
            "4": 50,
            None: 10,
        }
        assert run.seconds(by="worker") == {"w1": 150, "w2": 0}
        assert run.seconds(by="model", name="free_hours") == {"NVIDIA H200": 0, "NVIDIA L4": 10}
        assert run.seconds(labels={"rack": "4"}) == {"lena": 50}
        assert run.seconds(by="worker", user="chen") == {"w1": 100}
        assert run.seconds(worker_id="w2") == {"nobody": 10}
        assert run.usage.label_keys() == ["rack"]
        assert run.usage.workers() == {"w1", "w2"}


def test_a_removed_worker_keeps_what_was_used_on_it(store: Store) -> None:
    with running(store) as run:
        run.tell(card(process("chen")))
        run.run(100, card(process("chen")))
        run.bus.publish(WorkerRemoved("w1"))
        run.settle()

        assert run.seconds(by="worker") == {"w1": 100}


def test_costs_are_reckoned_when_they_are_asked_for(store: Store) -> None:
    prices = Prices(per_gpu_hour=2.0, per_kwh=0.5)
    with running(store) as run:
        run.tell(card())
        run.run(1800, card(process("chen"), busy=0))
        run.run(1800, card(busy=0))

        found = run.ask(prices=prices)
        assert found["chen"].cost == pytest.approx(1.0 + 0.09, rel=1e-4)
        assert found["chen"].idle_cost == pytest.approx(1.0, rel=1e-4)
        assert found["nobody"].free_cost == pytest.approx(1.0 + 0.09, rel=1e-4)
        assert run.ask()["chen"].cost is None
        assert run.ask(prices=Prices(per_kwh=0.5))["chen"].idle_cost is None


def test_days_that_are_over_are_added_up_and_answer_the_same(store: Store) -> None:
    with running(store, MIDNIGHT + 12 * HOUR_S) as run:
        for _ in range(60):
            run.tell(card(process("chen")))
            run.run(10, card(process("chen")), step_s=10)
            run.to(run.now + HOUR_S)
        run.settle()
        before = run.seconds()
        run.settle()
        run.to(run.now + 2 * HOUR_S)
        run.settle()

        assert run.seconds() == before == {"chen": 600}
        assert count(store, "usage WHERE step_s = 86400") == 3
        with store.write() as connection:
            connection.exec_driver_sql(f"DELETE FROM usage WHERE step_s = 3600 AND start < {MIDNIGHT + 2 * DAY_S}")
        # chen had 12, 24 and 24 hours: of the first two days, days alone are left
        assert run.seconds() == {"chen": 600}
        assert run.seconds(start=MIDNIGHT + DAY_S) == {"chen": 480}
        assert run.seconds(start=MIDNIGHT + DAY_S, end=MIDNIGHT + 2 * DAY_S - 1) == {"chen": 240}


def test_what_is_kept_longer_than_set_is_deleted(store: Store) -> None:
    with running(store, settings=UsageSettings(days=100)) as run:
        for _ in range(3):
            run.tell(card(process("chen")))
            run.run(10, card(process("chen")))
            run.to(run.now + 50 * DAY_S)
        run.settle()
        run.usage.prune(run.now)
        assert run.writer.flush()

        assert count(store, "usage WHERE step_s = 3600") == 1
        assert count(store, "usage WHERE step_s = 86400") == 2
        assert run.seconds() == {"chen": 20}
        run.to(run.now + 200 * DAY_S)
        run.usage.prune(run.now)
        assert run.writer.flush()
        assert [count(store, table) for table in ("usage", "usage_places", "usage_users")] == [0, 0, 0]
