"""What lasts, what does not, and what must not wake anybody: gaps, a broker that is away, clocks, cards that change."""

from __future__ import annotations

from pathlib import Path

from master.events import AlertChanged
from tests.master.alerts.support import World, hot, world
from tests.master.support import gpu

HOT_NOW = {"hot": {"for_s": 0}}


def test_a_reading_between_the_threshold_and_clear_neither_fires_nor_ends(desk: World) -> None:
    desk.reads(600, hot(84))
    assert desk.firing == []
    desk.reads(125, hot(86))
    desk.reads(600, hot(81))
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_a_reading_below_the_threshold_begins_the_duration_anew(desk: World) -> None:
    for _ in range(5):
        desk.reads(110, hot(90))
        desk.wait(5)
        desk.samples(hot(84))
        desk.wait(5)
    assert desk.firing == []


def test_a_reading_that_is_not_available_neither_begins_nor_ends_anything(desk: World) -> None:
    desk.reads(300, hot(None))
    assert desk.firing == []
    desk.reads(125, hot(90))
    desk.reads(300, hot(None))
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_a_gap_in_the_samples_does_not_count_for_the_duration(desk: World) -> None:
    desk.reads(100, hot(90))
    desk.wait(90)
    desk.reads(15, hot(90))
    assert desk.firing == []
    desk.reads(10, hot(90))
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_after_a_long_gap_the_duration_begins_anew(desk: World) -> None:
    desk.reads(115, hot(90))
    desk.wait(1000)
    desk.comes_online()
    desk.reads(115, hot(90))
    assert [rule for rule, _, _ in desk.firing] == []
    desk.reads(10, hot(90))
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_what_was_read_ends_where_there_has_been_no_reading_for_a_quarter_of_an_hour(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.reads(890, hot(None))
    assert desk.firing == [("hot", "w1", "GPU-0")]
    desk.settle()
    desk.reads(20, hot(None))
    assert desk.firing == []
    (ended,) = desk.settle()
    assert ended.state == "resolved"
    assert ended.text.endswith("(ended: there has been no reading for 15 min)")


def test_a_lost_card_is_not_hot_any_more_and_stays_lost_while_its_worker_is_away(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.reads(35, gpu(state="lost"))
    assert desk.firing == [("gpu-lost", "w1", "GPU-0")]
    desk.wait(2000)
    assert desk.firing == [("gpu-lost", "w1", "GPU-0"), ("worker-offline", "w1", None)]


def test_a_card_that_sleeps_is_not_hot(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.samples(gpu(state="asleep"))
    assert desk.firing == []


def test_what_was_found_of_a_card_ends_when_it_is_replaced_or_retired(desk: World) -> None:
    desk.reads(125, hot(90, 0), gpu(1, state="lost"))
    desk.settle()
    desk.samples(hot(40, 2))
    assert desk.firing == []
    assert {alert.text.partition("(ended: ")[2] for alert in desk.settle()} == {"the card is not there any more)"}


def test_cards_that_broken_telemetry_leaves_out_are_not_gone(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.samples(health="degraded", problem="nvidia-smi does not answer")
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_a_card_that_gets_another_index_is_still_the_same(desk: World) -> None:
    desk.reads(100, hot(90, 0), hot(40, 1))
    desk.reads(25, hot(90, 0) | {"index": 1}, hot(40, 1) | {"index": 0})
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_late_and_repeated_samples_do_not_count(desk: World) -> None:
    desk.samples(hot(40))
    late = {"v": 1, "time": desk.wall() - 9, "seq": 0, "interval_s": 5, "source": "nvml", "gpus": [hot(99)]}
    for _ in range(200):
        desk.wait(1)
        desk.publish("gpumon/w1/metrics", late)
    assert ("hot", "w1", "GPU-0") not in desk.firing


def test_a_retained_sample_is_no_reading_of_now(desk: World, tmp_path: Path) -> None:
    with world(tmp_path / "other", HOT_NOW) as other:
        payload = {"v": 1, "time": other.wall(), "seq": 1, "interval_s": 5, "source": "nvml", "gpus": [hot(99)]}
        other.publish("gpumon/w1/metrics", payload, retained=True)
        assert other.firing == []


def test_a_worker_with_a_long_interval_has_no_gaps(desk: World) -> None:
    for _ in range(3):
        desk.samples(hot(90), interval_s=60.0)
        desk.wait(60)
    desk.samples(hot(90), interval_s=60.0)
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_a_broker_that_is_away_makes_nobody_offline(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.listening = False
    desk.wait(3600)
    assert desk.firing == []
    desk.listening = True
    desk.wait(50)
    desk.comes_online()
    desk.reads(300, hot(40))
    assert desk.firing == []
    assert desk.settle() == []


def test_a_worker_that_does_not_come_back_after_the_broker_is_offline_after_its_duration(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.listening = False
    desk.wait(3600)
    desk.listening = True
    desk.wait(60 + 115)
    assert desk.firing == []
    desk.wait(10)
    assert desk.firing == [("worker-offline", "w1", None)]


def test_a_worker_that_is_offline_stays_so_while_the_broker_is_away(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.publish("gpumon/w1/status", "offline")
    desk.wait(125)
    desk.settle()
    desk.listening = False
    desk.wait(600)
    desk.listening = True
    desk.wait(600)
    assert desk.firing == [("worker-offline", "w1", None)]
    assert desk.settle() == []


def test_a_master_that_starts_after_a_night_gives_a_thousand_workers_time_to_come_back(tmp_path: Path) -> None:
    with world(tmp_path / "data") as evening:
        for number in range(1000):
            evening.comes_online(f"w{number}")
        evening.reads(5, hot(40), worker_id="w1")
        until = evening.wall()
    morning = World(tmp_path / "data", at=until + 40_000)
    morning.listening = False
    morning.wait(20)
    morning.listening = True
    morning.wait(45)
    for number in range(999):
        morning.comes_online(f"w{number}")
    morning.wait(60)
    for _ in range(25):
        morning.wait(5)
        for number in range(999):
            morning.publish(f"gpumon/w{number}/status", "online")
    assert morning.firing == [("worker-offline", "w999", None)]
    morning.stop()


def test_a_wall_clock_that_is_set_forward_makes_nobody_offline_and_nothing_older(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.reads(60, hot(90))
    desk.wall_offset += 86_400
    desk.wait(1)
    assert desk.firing == []
    desk.reads(50, hot(90))
    assert desk.firing == []
    desk.reads(15, hot(90))
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_a_wall_clock_that_is_set_back_does_not_hide_who_is_offline(desk: World) -> None:
    desk.reads(70, hot(40))
    desk.reads(60, hot(90))
    desk.wall_offset -= 86_400
    desk.reads(65, hot(90))
    assert desk.firing == [("hot", "w1", "GPU-0")]
    desk.wait(75 + 125)
    assert desk.firing == [("hot", "w1", "GPU-0"), ("worker-offline", "w1", None)]
    desk.comes_online()
    desk.reads(5, hot(40))
    assert desk.firing == []
    assert all(alert.until is None or alert.until >= alert.since for alert in desk.settle())


def test_a_workers_own_clock_does_not_matter(desk: World) -> None:
    for _ in range(25):
        desk.publish("gpumon/w1/metrics", {"v": 1, "time": 5, "seq": 1, "interval_s": 5, "source": "nvml", "gpus": []})
        desk.samples(hot(90), time=desk.wall() + 3600 + desk.passed)
        desk.wait(5)
    assert desk.firing == [("hot", "w1", "GPU-0")]


def test_an_xid_counts_repetitions_and_ends_after_a_quiet_hour(desk: World) -> None:
    desk.samples(gpu())
    desk.happens("xid", 79)
    desk.reads(1800, gpu())
    desk.happens("xid", 79)
    desk.reads(3590, gpu())
    (alert,) = desk.desk.active()
    assert (alert.count, alert.since < (alert.last or 0)) == (2, True)
    assert alert.text.startswith("GPU 0 (NVIDIA H200) reports XID 79, 2 times: ")
    desk.reads(20, gpu())
    assert desk.firing == []
    assert [(a.state, a.count) for a in desk.settle()] == [("firing", 1), ("firing", 2), ("resolved", 2)]


def test_an_xid_that_is_raised_over_and_over_is_told_every_few_seconds_at_most(desk: World) -> None:
    desk.samples(gpu())
    for _ in range(200):
        desk.passed += 0.05
        desk.happens("xid", 79)
        desk.desk.tick()
    desk.wait(5)
    assert 2 <= len(desk.settle()) <= 5
    assert desk.desk.active()[0].count == 200


def test_a_worker_that_was_never_there_is_not_offline(desk: World) -> None:
    desk.publish("gpumon/typo/metrics", "no JSON")
    desk.reads(300, gpu())
    assert [worker.id for worker in desk.fleet.workers()] == ["typo", "w1"]
    assert desk.firing == []


def test_an_event_that_is_delivered_again_is_not_counted_however_late(desk: World) -> None:
    desk.samples(gpu())
    first = desk.happens("xid", 79)
    for number in range(20):
        desk.wait(1)
        desk.happens("command_refused", number)
    desk.publish("gpumon/w1/event", first)
    (alert,) = desk.desk.active()
    assert alert.count == 1


def test_an_event_of_a_card_that_the_worker_does_not_have_is_the_workers(desk: World) -> None:
    desk.samples(gpu())
    for number in range(5):
        desk.happens("xid", 79, gpu=f"GPU-invented-{number}")
    assert desk.firing == [("xid-critical", "w1", None)]


def test_values_are_told_at_most_every_few_seconds(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.settle()
    told: list[AlertChanged] = []
    desk.bus.subscribe(AlertChanged, told.append)
    for celsius in range(100):
        desk.samples(hot(90 + celsius % 7))
        desk.wait(0.5)
    assert 8 <= len(told) <= 11
    desk.reads(10, hot(94))
    told.clear()
    desk.reads(60, hot(94))
    assert told == []
    assert desk.desk.active()[0].value == 94


def test_numbers_that_no_card_has_harm_nobody(desk: World) -> None:
    huge = 10**400
    card = hot(huge, 0, memory_used_bytes=huge, memory_total_bytes=1, ecc_uncorrected=huge)
    desk.reads(125, card | {"ecc_uncorrected": 1})
    desk.reads(5, card, hot(90, 1))
    desk.happens("ecc", huge)
    desk.happens("xid", huge)
    assert ("hot", "w1", "GPU-0") in desk.firing
    assert len(desk.settle()) >= 2
    assert desk.writer.problem is None


def test_a_worker_that_is_removed_ends_all_that_was_found_of_it(desk: World) -> None:
    desk.reads(125, hot(90))
    desk.happens("xid", 79)
    desk.settle()
    desk.fleet.forget("w1")
    assert desk.firing == []
    assert [alert.state for alert in desk.settle()] == ["resolved", "resolved"]
    desk.wait(300)
    assert desk.firing == []
