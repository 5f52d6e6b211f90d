"""The machine around the cards."""

from __future__ import annotations

import time

from agent.samplers.host import HostSampler
from tests.support import eventually


def test_a_real_machine_tells_believable_readings_and_rates_from_the_second_look_on() -> None:
    sampler = HostSampler()
    first = sampler.read()
    assert first.network_rx_bytes_per_s is None
    assert first.memory_total_bytes is not None
    assert first.memory_used_bytes is not None
    assert 0 < first.memory_used_bytes <= first.memory_total_bytes
    assert first.disk_total_bytes
    assert first.uptime_s is not None
    assert first.uptime_s > 0
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 0.1)  # rates need time to pass
    second = sampler.read()
    assert second.cpu_percent is not None
    assert 0 <= second.cpu_percent <= 100
    assert second.load_1m is not None
    assert second.network_rx_bytes_per_s is None or second.network_rx_bytes_per_s >= 0
