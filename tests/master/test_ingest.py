"""Taking in what workers publish, through a real broker."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
import pytest

from gpumon.messages import Event
from master.events import SampleArrived, WorkerChanged, WorkerEventArrived
from master.fleet import Worker, WorkerState
from master.master import Master
from tests.master.support import Publisher, gpu, info, sample
from tests.support import eventually


def known(master: Master, worker_id: str = "w1") -> Worker:
    worker = master.fleet.worker(worker_id)
    assert worker is not None
    return worker


def sampled(master: Master, seq: int, worker_id: str = "w1") -> Worker:
    def has_it() -> bool:
        worker = master.fleet.worker(worker_id)
        return worker is not None and worker.metrics is not None and worker.metrics.seq == seq

    eventually(has_it)
    return known(master, worker_id)


def settled(master: Master, publisher: Publisher) -> None:
    """Wait until everything published so far has been taken in."""
    publisher.publish("gpumon/marker/status", "online")
    eventually(lambda: master.fleet.worker("marker"))


def test_status_inventory_and_sample_of_a_worker_are_in_the_fleet(master: Master, publisher: Publisher) -> None:
    publisher.publish("gpumon/w1/status", "online", retain=True)
    publisher.publish("gpumon/w1/info", info(), retain=True)
    publisher.publish("gpumon/w1/metrics", sample(3), retain=True)
    worker = sampled(master, 3)
    assert worker.status == "online"
    assert worker.info is not None
    assert worker.info.labels == {"rack": "3"}
    assert worker.last_seen is not None
    assert abs(worker.last_seen - time.time()) < 5
    assert worker.state(time.time()) is WorkerState.ONLINE
    assert worker.problems(time.time()) == []


def test_a_sample_is_passed_on_as_it_came(master: Master, publisher: Publisher) -> None:
    arrived: list[SampleArrived] = []
    master.bus.subscribe(SampleArrived, arrived.append)
    payload = msgspec.json.encode(sample(1) | {"a_later_field": 1})
    publisher.publish("gpumon/w1/metrics", payload)
    eventually(lambda: arrived)
    assert arrived[0].payload == payload
    assert known(master).metrics_payload == payload


def test_null_stays_none_and_a_true_zero_stays_zero(master: Master, publisher: Publisher) -> None:
    publisher.publish("gpumon/w1/metrics", sample(1, gpus=[gpu(fan_percent=None, utilization_percent=0)]))
    metrics = sampled(master, 1).metrics
    assert metrics is not None
    assert metrics.gpus[0].fan_percent is None
    assert metrics.gpus[0].utilization_percent == 0


GARBAGE = {
    "unreadable": b'{"time": 1, "seq":',
    "not_an_object": b"[1, 2, 3]",
    "wrong_type": msgspec.json.encode(sample(7) | {"seq": "seven"}),
    "nan": msgspec.json.encode(sample(7)).replace(b"612.4", b"NaN"),
    "infinity": msgspec.json.encode(sample(7)).replace(b"612.4", b"1e999"),
    "interval_0": msgspec.json.encode(sample(7, interval_s=0)),
    "out_of_bounds": msgspec.json.encode(sample(7, gpus=[gpu(utilization_percent=101)])),
    "ten_megabytes": b"x" * 10_000_000,
    "ten_megabytes_of_sample": msgspec.json.encode(sample(7) | {"filler": "x" * 10_000_000}),
    "not_utf8": msgspec.json.encode(sample(7)).replace(b"NVIDIA", b"\xff\xfe\xfd"),
    "not_utf8_in_an_unknown_field": msgspec.json.encode(sample(7) | {"more": "??"}).replace(b"??", b"\xff\xfe"),
    "lone_surrogate": msgspec.json.encode(sample(7)).replace(b"NVIDIA", b"\\ud800"),
    "deep_nesting": msgspec.json.encode(sample(7)).replace(b'"v":1', b'"v":' + b"[" * 100_000),
    "deep_nesting_in_an_unknown_field": msgspec.json.encode(sample(7))[:-1]
    + b',"x":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
    "too_many_gpus": msgspec.json.encode(sample(7, gpus=[gpu(n) for n in range(300)])),
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_payload_that_is_not_valid_is_told_with_its_worker_and_harms_nobody(
    master: Master, publisher: Publisher, payload: bytes
) -> None:
    publisher.publish("gpumon/w1/metrics", sample(1))
    sampled(master, 1)
    publisher.publish("gpumon/w1/metrics", payload)
    publisher.publish("gpumon/w2/metrics", sample(2))
    sampled(master, 2, "w2")
    worker = known(master)
    assert worker.metrics is not None
    assert worker.metrics.seq == 1
    assert worker.rejected_payloads == 1
    assert any("not valid and ignored, the last: metrics:" in line for line in worker.problems(time.time()))
    assert master.counters.rejected["metrics"] == 1
    assert master.link_problem is None


def test_a_flood_of_bad_payloads_is_logged_once_a_minute_for_each_worker(
    master: Master, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            publisher.publish("gpumon/w1/metrics", b"{")
            publisher.publish("gpumon/w2/info", b"{")
        settled(master, publisher)
    assert known(master).rejected_payloads == 20
    assert len([record for record in caplog.records if "is ignored" in record.message]) == 2


@pytest.mark.parametrize("worker_id", ["all", "master", "join", "audit", "-w", "a b", "ü", "w" * 64])
def test_a_worker_id_that_is_not_allowed_is_counted_and_ignored(
    master: Master, publisher: Publisher, worker_id: str
) -> None:
    publisher.publish(f"gpumon/{worker_id}/metrics", sample(1))
    settled(master, publisher)
    assert master.counters.rejected["metrics"] == 1
    assert [worker.id for worker in master.fleet.workers()] == ["marker"]


@pytest.mark.parametrize("channel", ["status", "info", "event", "cmd/output", "cmd/result"])
def test_garbage_on_any_of_a_workers_topics_is_counted(master: Master, publisher: Publisher, channel: str) -> None:
    for payload in (b"{", b"\xff\xff", b"null", b'"x"', b"[" * 50_000):
        publisher.publish(f"gpumon/w1/{channel}", payload)
    settled(master, publisher)
    assert master.counters.rejected[channel] == 5
    assert known(master).rejected_payloads == 5
    assert master.commands.recent() == []


def test_garbage_from_operators_and_broker_is_counted_and_is_not_the_workers_fault(
    master: Master, publisher: Publisher
) -> None:
    publisher.publish("gpumon/w1/status", "online")
    publisher.publish("gpumon/w1/cmd", b'{"id": 5}')
    publisher.publish("gpumon/all/cmd", b'{"command": ')
    publisher.publish("gpumon/audit", b"{")
    publisher.publish("gpumon/audit", {"time": 1, "user": "eve", "topic": "gpumon/#/cmd", "command": "ls"})
    settled(master, publisher)
    assert master.counters.rejected == {"cmd": 2, "audit": 2}
    assert known(master).rejected_payloads == 0


def test_a_cleared_retained_message_is_no_error(master: Master, publisher: Publisher) -> None:
    publisher.publish("gpumon/w1/metrics", b"", retain=True)
    settled(master, publisher)
    assert not master.counters.rejected


def test_a_repeated_or_late_sample_does_not_replace_a_newer_one(master: Master, publisher: Publisher) -> None:
    at = time.time()
    publisher.publish("gpumon/w1/metrics", sample(5, at))
    publisher.publish("gpumon/w1/metrics", sample(4, at - 1))
    publisher.publish("gpumon/w1/metrics", sample(5, at))
    settled(master, publisher)
    assert known(master).metrics == sampled(master, 5).metrics
    assert master.counters.late == 2


def test_a_restarted_agent_counts_from_0_and_is_believed(master: Master, publisher: Publisher) -> None:
    at = time.time()
    publisher.publish("gpumon/w1/metrics", sample(500, at))
    publisher.publish("gpumon/w1/metrics", sample(0, at + 5))
    sampled(master, 0)
    assert master.counters.late == 0


def test_a_restarted_agent_whose_clock_was_set_back_is_believed(master: Master, publisher: Publisher) -> None:
    at = time.time()
    publisher.publish("gpumon/w1/metrics", sample(500, at + 3600))
    publisher.publish("gpumon/w1/status", "online")
    publisher.publish("gpumon/w1/metrics", sample(0, at))
    sampled(master, 0)


def test_a_clock_that_is_set_back_under_a_running_agent_does_not_hold_its_samples_up(
    master: Master, publisher: Publisher
) -> None:
    at = time.time()
    publisher.publish("gpumon/w1/metrics", sample(7, at + 3600))
    publisher.publish("gpumon/w1/metrics", sample(8, at))
    sampled(master, 8)


def test_a_clock_that_is_off_is_told(master: Master, publisher: Publisher) -> None:
    publisher.publish("gpumon/w1/metrics", sample(1, time.time() + 60))
    worker = sampled(master, 1)
    assert worker.clock_offset_s == pytest.approx(60, abs=5)
    assert "ahead of the master's" in worker.problems(time.time())[0]


def test_an_event_is_kept_and_one_that_is_delivered_again_is_not(master: Master, publisher: Publisher) -> None:
    arrived: list[WorkerEventArrived] = []
    master.bus.subscribe(WorkerEventArrived, arrived.append)
    happened = {"v": 1, "time": 5.0, "kind": "xid", "gpu": "GPU-0", "value": 79, "text": "fallen off the bus"}
    publisher.publish("gpumon/w1/event", happened)
    publisher.publish("gpumon/w1/event", happened)
    settled(master, publisher)
    expected = Event(time=5.0, kind="xid", gpu="GPU-0", value=79, text="fallen off the bus")
    assert [event for _, event in master.fleet.events("w1")] == [expected]
    assert [event.event for event in arrived] == [expected]


def test_a_worker_shows_no_more_than_its_last_200_events(master: Master, publisher: Publisher) -> None:
    for number in range(205):
        publisher.publish("gpumon/w1/event", {"time": number, "kind": "ecc", "text": "again"})
    settled(master, publisher)
    times = [event.time for _, event in master.fleet.events("w1")]
    assert times == [float(number) for number in range(5, 205)]


def test_every_change_of_a_worker_is_published(master: Master, publisher: Publisher) -> None:
    changed: list[WorkerChanged] = []
    master.bus.subscribe(WorkerChanged, changed.append)
    payloads: list[tuple[str, Any]] = [("status", "online"), ("info", info()), ("metrics", sample(1))]
    for count, (channel, payload) in enumerate(payloads, start=1):
        publisher.publish(f"gpumon/w1/{channel}", payload)
        eventually(lambda count=count: len(changed) == count)  # type: ignore[misc]
    assert set(changed) == {WorkerChanged("w1")}
