"""What the broker tells each minute of how it had to defend itself."""

from __future__ import annotations

import logging

import pytest

from broker import complaints
from broker.complaints import Complaints
from broker.counters import BrokerCounters, told


def test_a_quiet_minute_is_not_told_and_a_busy_one_is_in_one_line() -> None:
    counters = BrokerCounters()
    before = counters.as_dict()
    counters.connections, counters.messages_in = 5, 1000
    assert not told(before, counters.as_dict())
    counters.failed_logins, counters.refused_connections = 12, 300
    assert told(before, counters.as_dict()) == "300 connections refused, 12 log-ins failed"


def test_endless_names_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    complain = Complaints()
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            complain("log-in", f"name-{number}", f"name-{number} is refused")
            complain("other", "same", "something else")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == complaints.LINES_A_MINUTE + 1
    assert lines[:2] == ["name-0 is refused", "something else"]
