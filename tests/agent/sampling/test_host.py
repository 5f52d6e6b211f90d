"""The machine around the cards."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from agent.machine import this_machine
from agent.samplers.host import HostSampler
from gpumon.messages import HostReading
from tests.support import eventually


def wait() -> None:
    """Let some time pass: rates need it."""
    began_s = time.monotonic()
    eventually(lambda: time.monotonic() - began_s > 0.1)


def test_a_real_machine_tells_believable_readings_and_rates_from_the_second_look_on() -> None:
    sampler = HostSampler()
    first = sampler.read()
    assert first.cpu_percent is None
    assert first.network_rx_bytes_per_s is None
    assert first.network_tx_bytes_per_s is None
    assert first.memory_total_bytes is not None
    assert first.memory_used_bytes is not None
    assert 0 < first.memory_used_bytes <= first.memory_total_bytes
    assert first.disk_total_bytes is not None
    assert first.disk_used_bytes is not None
    assert 0 < first.disk_used_bytes <= first.disk_total_bytes
    assert first.uptime_s is not None
    assert first.uptime_s > 0
    wait()
    second = sampler.read()
    assert second.cpu_percent is not None
    assert 0 <= second.cpu_percent <= 100
    assert second.load_1m is not None
    assert second.network_rx_bytes_per_s is None or second.network_rx_bytes_per_s >= 0


def test_what_the_machine_is_comes_from_the_machine() -> None:
    facts = this_machine()
    assert facts.hostname == socket.gethostname()
    assert facts.kernel == os.uname().release
    assert facts.cpu_count == os.cpu_count()
    assert facts.memory_total_bytes == pytest.approx(psutil.virtual_memory().total, rel=0.01)


def test_a_reading_that_the_system_does_not_give_is_none_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("no such file: /proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    reading = HostSampler().read()
    assert reading.memory_used_bytes is None
    assert reading.memory_total_bytes is None
    assert reading.uptime_s is not None


class Network:
    """A machine whose network cards and bridges have carried these bytes; `physical` are the cards."""

    def __init__(self, sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sysfs = sysfs
        self.carried: dict[str, int] = {}
        monkeypatch.setattr(psutil, "net_io_counters", self._counters)

    def _counters(self, *, pernic: bool) -> dict[str, SimpleNamespace]:
        return {name: SimpleNamespace(bytes_recv=count, bytes_sent=2 * count) for name, count in self.carried.items()}

    def plug_in(self, name: str, carried: int = 0, *, physical: bool = True) -> None:
        """Add a network card, or something that is none."""
        (self.sysfs / "class/net" / name / ("device" if physical else "bridge")).mkdir(parents=True)
        self.carried[name] = carried


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(tmp_path, monkeypatch)


def next_reading(sampler: HostSampler) -> HostReading:
    """Read after some time."""
    wait()
    return sampler.read()


def test_bytes_count_once_where_bridges_carry_those_of_a_network_card(network: Network) -> None:
    network.plug_in("eth0")
    network.plug_in("docker0", physical=False)
    network.plug_in("lo", physical=False)
    sampler = HostSampler(network.sysfs)
    sampler.read()
    for name in ("docker0", "lo"):
        network.carried[name] += 1_000_000_000
    reading = next_reading(sampler)
    assert (reading.network_rx_bytes_per_s, reading.network_tx_bytes_per_s) == (0, 0)
    network.carried["eth0"] += 1_000_000
    reading = next_reading(sampler)
    assert reading.network_rx_bytes_per_s is not None
    assert reading.network_tx_bytes_per_s is not None
    assert 0 < reading.network_rx_bytes_per_s < 10_000_000
    assert reading.network_tx_bytes_per_s == pytest.approx(2 * reading.network_rx_bytes_per_s, abs=2)


def test_within_a_container_its_link_counts(network: Network) -> None:
    network.plug_in("eth0", physical=False)
    sampler = HostSampler(network.sysfs)
    sampler.read()
    network.carried["eth0"] += 1_000_000
    assert next_reading(sampler).network_rx_bytes_per_s


def test_what_a_network_card_carried_before_it_was_seen_is_no_rate(network: Network) -> None:
    network.plug_in("eth0", carried=1000)
    sampler = HostSampler(network.sysfs)
    sampler.read()
    network.plug_in("eth1", carried=1_000_000_000_000)
    assert next_reading(sampler).network_rx_bytes_per_s is None
    assert next_reading(sampler).network_rx_bytes_per_s == 0
    del network.carried["eth1"]
    assert next_reading(sampler).network_rx_bytes_per_s is None
