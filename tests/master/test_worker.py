"""A worker's state and problems at a moment."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gpumon.messages import Metrics
from master.worker import Worker, WorkerState
from tests.master.support import gpu, sample

NOW = 1_766_500_000.0


def metrics(**changes: Any) -> Metrics:
    return msgspec.convert(sample(at=NOW, **changes), Metrics)


def seen(ago_s: float, **changes: Any) -> Worker:
    fields: dict[str, Any] = {"status": "online", "last_seen": NOW - ago_s, "last_sample": NOW - ago_s} | changes
    return Worker("w1", **fields)


@pytest.mark.parametrize(
    ("worker", "state"),
    [
        (seen(1, metrics=metrics()), WorkerState.ONLINE),
        (seen(14, metrics=metrics()), WorkerState.ONLINE),
        (seen(16, metrics=metrics()), WorkerState.STALE),
        (seen(9, metrics=metrics(interval_s=1.0)), WorkerState.ONLINE),
        (seen(11, metrics=metrics(interval_s=1.0)), WorkerState.STALE),
        (seen(1, metrics=metrics(health="degraded")), WorkerState.DEGRADED),
        (seen(74, metrics=metrics()), WorkerState.STALE),
        (seen(76, metrics=metrics()), WorkerState.OFFLINE),
        (seen(1, metrics=metrics(), status="offline"), WorkerState.OFFLINE),
        (seen(1, metrics=metrics(), status=None), WorkerState.ONLINE),
        (seen(1, last_sample=NOW - 60, metrics=metrics()), WorkerState.STALE),
    ],
)
def test_the_state_follows_status_health_and_age(worker: Worker, state: WorkerState) -> None:
    assert worker.state(NOW) is state


def test_a_worker_known_by_retained_messages_alone_is_offline_unless_its_status_says_otherwise() -> None:
    assert Worker("w1", known_since=NOW).state(NOW) is WorkerState.OFFLINE
    said_online = Worker("w1", status="online", known_since=NOW)
    assert said_online.state(NOW + 1) is WorkerState.ONLINE
    assert said_online.state(NOW + 30) is WorkerState.STALE
    assert said_online.state(NOW + 90) is WorkerState.OFFLINE


def test_an_absurd_interval_does_not_make_a_worker_immortal() -> None:
    assert seen(12_000, metrics=metrics(interval_s=1e300)).state(NOW) is WorkerState.OFFLINE


def test_a_worker_that_is_well_has_no_problems() -> None:
    assert seen(1, metrics=metrics(), clock_offset_s=4.9).problems(NOW) == []


def test_each_problem_is_one_clear_line() -> None:
    ailing = seen(
        20,
        metrics=metrics(
            health="degraded", problem="NVML does not answer", gpus=[gpu(0, state="lost"), gpu(1, state="error")]
        ),
        clock_offset_s=-400.0,
        rejected_payloads=2,
        last_rejection="metrics: not valid",
    )
    assert ailing.problems(NOW) == [
        "no sample for 20 s",
        "NVML does not answer",
        "NVIDIA H200 GPU-0 does not answer any more",
        "NVIDIA H200 GPU-1 cannot be read",
        "its clock is 7 min behind the master's: set both by NTP (chrony)",
        "2 payloads were not valid and ignored, the last: metrics: not valid",
    ]
