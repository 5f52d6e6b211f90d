"""Whatever comes in whatever order: what users have adds up to what the card did, and never to more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.messages import GpuReading, Metrics, MigDevice, Process
from master.usage.amounts import BUSY, ENERGY, HELD, IDLE, METERED, TOLD, Amounts, add, nothing
from master.usage.book import Book
from master.usage.names import place
from master.usage.sharing import split
from master.usage.spans import WorkerSpans
from tests.master.usage.support import MIDNIGHT

SLICES = ["MIG-1", "MIG-2", None]
BYTES = st.none() | st.integers(0, 2**70)

processes = st.builds(
    Process,
    pid=st.integers(1, 5),
    user=st.sampled_from(["chen", "lena", "nobody", "", None]) | st.text(max_size=5),
    memory_bytes=BYTES,
    type=st.sampled_from(["compute", "graphics"]),
    sm_percent=st.none() | st.integers(0, 100),
    mig_uuid=st.sampled_from(SLICES),
)
devices = st.lists(
    st.builds(MigDevice, uuid=st.sampled_from(["MIG-1", "MIG-2", "MIG-3"]), memory_total_bytes=BYTES), max_size=3
)
cards = st.builds(
    GpuReading,
    uuid=st.just("GPU-0"),
    state=st.sampled_from(["ok", "ok", "ok", "asleep", "lost"]),
    utilization_percent=st.none() | st.integers(0, 100),
    memory_used_bytes=BYTES,
    memory_total_bytes=BYTES,
    power_w=st.none() | st.floats(allow_nan=False),
    power_limit_w=st.none() | st.floats(allow_nan=False),
    energy_j=st.none() | st.floats(0, 1e5) | st.floats(allow_nan=False),
    mig_devices=devices,
    processes=st.lists(processes, max_size=6),
)
# How much later each comes, how far its own time is off, and what it says.
streams = st.lists(
    st.tuples(st.floats(0, 3000), st.sampled_from([0.0, 0.0, 0.0, -20.0, 3600.0, -90.0]), cards), max_size=12
)


@given(cards)
def test_parts_of_a_card_add_up_to_one(gpu: GpuReading) -> None:
    found = split(gpu)
    assert sum(found.held.values()) == pytest.approx(1)
    assert sum(found.worked.values()) == pytest.approx(1)
    assert all(part >= 0 for part in (*found.held.values(), *found.worked.values(), *found.memory_bytes.values()))


@settings(max_examples=150)
@given(streams)
def test_what_users_have_adds_up_to_what_the_card_did(stream: list[tuple[float, float, GpuReading]]) -> None:
    spans, book, now = WorkerSpans(), Book(), MIDNIGHT
    at = place("w1", "NVIDIA H200", {})
    seconds, joules, last = 0.0, 0.0, float("-inf")
    for seq, (later_s, off_s, gpu) in enumerate(stream):
        now += later_s
        sample: Any = Metrics(time=now + off_s, seq=seq, interval_s=5.0, source="simulated", gpus=[gpu, gpu])
        for span in (*spans.take(sample, now), *spans.take(sample, now)):
            assert last <= span.start < span.end, "no time is counted twice"
            last = span.end
            book.add(at, span, now)
            if span.start // 3600 * 3600 + 3900 > now:
                seconds += span.end - span.start
                joules += span.energy_j or 0.0
    total: Amounts = nothing()
    for _, _, _, amounts in book.lines(0, now + 7200):
        assert all(value >= 0 for value in amounts)
        add(total, amounts)
    assert total[HELD] == pytest.approx(seconds, abs=1e-3)
    assert total[HELD] <= now - MIDNIGHT + 5
    assert total[ENERGY] == pytest.approx(joules, rel=1e-6, abs=1e-3)
    assert total[BUSY] + total[IDLE] <= total[TOLD] + 1e-3
    assert total[TOLD] <= total[HELD] + 1e-3
    assert total[METERED] <= total[HELD] + 1e-3
