"""How much may be spent, and how long somebody who fails has to wait; with a clock that the test holds."""

from __future__ import annotations

import pytest

from broker.limits import Allowance, Allowances, Failures, Limits, is_loopback, plain_address


def test_what_was_saved_can_be_spent_at_once_and_then_no_faster_than_the_rate() -> None:
    allowance = Allowance(rate_per_s=10, burst=50, now=0)
    assert [allowance.spend(1, 0) for _ in range(50)] == [0] * 50
    assert allowance.spend(1, 0) == pytest.approx(0.1)
    assert allowance.spend(1, 0.1) == pytest.approx(0.1)
    assert allowance.spend(30, 0.2) == pytest.approx(3.0)
    assert allowance.spend(1, 3.2) == pytest.approx(0.1)


def test_nobody_saves_more_than_the_burst() -> None:
    allowance = Allowance(rate_per_s=10, burst=50, now=0)
    assert allowance.saved(1000) == 50
    assert not allowance.spend(50, 1000)
    assert allowance.spend(10, 1000) == pytest.approx(1.0)


def test_each_key_has_an_allowance_of_its_own_and_many_idle_ones_cost_nothing() -> None:
    allowances = Allowances(rate_per_s=1, burst=5)
    assert allowances.spend("busy", 10, 0) == 5
    assert allowances.spend("other", 5, 0) == 0
    for number in range(10_000):
        allowances.spend(number, 1, number / 100)
    assert len(allowances) < 2000
    assert allowances.spend("busy", 10, 100) == 5


def test_an_opening_that_is_not_saved_for_is_refused_and_costs_nothing() -> None:
    allowances = Allowances(rate_per_s=1, burst=2)
    assert [allowances.may_spend("a", 1, 0) for _ in range(4)] == [True, True, False, False]
    assert allowances.may_spend("a", 1, 1.0)


def test_a_few_failures_are_free_and_each_further_one_closes_for_longer() -> None:
    failures = Failures(free=3, longest_s=60)
    waits = []
    now = 0.0
    for _ in range(10):
        failures.failed("eve", now)
        waits.append(failures.wait_s("eve", now))
        now += waits[-1]
    assert waits[:3] == [0, 0, 0]
    assert waits[3] == pytest.approx(2.0)
    assert waits[4] == pytest.approx(4.0, rel=0.1)
    assert waits[3:] == sorted(waits[3:])
    assert max(waits) == 60
    assert failures.wait_s("adam", 0) == 0


def test_failures_are_forgiven_with_time_and_forgotten_on_success() -> None:
    failures = Failures(free=3, longest_s=60)
    for _ in range(3):
        failures.failed("eve", 0)
    failures.failed("eve", 300)  # one is forgiven by now
    assert failures.wait_s("eve", 300) == 0
    failures.failed("eve", 300)
    assert failures.wait_s("eve", 300) > 0
    failures.succeeded("eve")
    assert failures.wait_s("eve", 300) == 0


def test_failures_of_endless_names_are_kept_within_bounds() -> None:
    failures = Failures(free=0, longest_s=60)
    for number in range(50_000):
        failures.failed(number, 0)
    assert len(failures._kept) == 20_000
    assert failures.wait_s(49_999, 0) > 0


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_only_this_machines_own_addresses_are_spared(address: str, *, local: bool) -> None:
    assert is_loopback(address) == local
    assert Limits().counts(address) != local
    assert Limits(spare_loopback=False).counts(address)


def test_an_ipv4_client_of_a_socket_for_both_kinds_is_known_by_its_ipv4_address() -> None:
    assert plain_address("::ffff:192.0.2.7") == "192.0.2.7"
    assert plain_address("2001:db8::1") == "2001:db8::1"
    assert is_loopback(plain_address("::ffff:127.0.0.1"))
