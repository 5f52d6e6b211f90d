"""The brake on guessing passwords, with a clock that the test turns."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from master.audit import Actor
from webui.failed_logins import MOST_A_MINUTE, FailedLogins
from webui.throttle import (
    FIRST_WAIT_S,
    FROM_ONE_PLACE,
    ON_ONE_NAME,
    BusyError,
    KnownBrowsers,
    LoginThrottle,
    PasswordQueue,
    one_place,
)


class Clock:
    """What the time is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> LoginThrottle:
    return LoginThrottle(clock)


def attempts(throttle: LoginThrottle, count: int, address: str = "192.0.2.1", name: str = "olaf") -> None:
    for _ in range(count):
        assert throttle.wait_s(address, name) == 0


def test_each_further_attempt_doubles_the_wait_of_its_address(clock: Clock, throttle: LoginThrottle) -> None:
    attempts(throttle, FROM_ONE_PLACE.free)
    assert throttle.wait_s("192.0.2.1", "olaf") == FIRST_WAIT_S
    assert throttle.wait_s("192.0.2.1", "vera") == FIRST_WAIT_S
    assert throttle.wait_s("192.0.2.2", "vera") == 0
    clock.now += FIRST_WAIT_S
    attempts(throttle, 1)
    assert throttle.wait_s("192.0.2.1", "olaf") == 2 * FIRST_WAIT_S
    clock.now += 3600
    attempts(throttle, FROM_ONE_PLACE.free)


def test_attempts_that_come_at_once_are_counted_before_they_are_checked(throttle: LoginThrottle) -> None:
    let_through: list[float] = []
    threads = [
        threading.Thread(target=lambda: let_through.append(throttle.wait_s("192.0.2.1", "olaf"))) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert let_through.count(0) == FROM_ONE_PLACE.free


def test_logging_in_with_an_account_of_ones_own_does_not_clear_guesses_at_another(throttle: LoginThrottle) -> None:
    for _ in range(FROM_ONE_PLACE.free - 1):
        attempts(throttle, 1, name="admin")
        attempts(throttle, 1, name="mallory")
        throttle.succeeded("192.0.2.1", "mallory")
    attempts(throttle, 1, name="admin")
    assert throttle.wait_s("192.0.2.1", "admin") > 0


def test_a_name_that_is_guessed_from_everywhere_slows_down_by_itself(clock: Clock, throttle: LoginThrottle) -> None:
    for number in range(ON_ONE_NAME.free):
        attempts(throttle, 1, f"198.51.100.{number}")
    assert throttle.wait_s("203.0.113.9", "olaf") == FIRST_WAIT_S
    assert throttle.wait_s("203.0.113.9", "vera") == 0
    for number in range(100):
        clock.now += ON_ONE_NAME.longest_wait_s
        attempts(throttle, 1, f"203.0.113.{number}")
    assert throttle.wait_s("192.0.2.1", "olaf") <= ON_ONE_NAME.longest_wait_s


def test_the_owners_browser_waits_for_its_own_failures_alone(throttle: LoginThrottle) -> None:
    for number in range(100):
        throttle.wait_s(f"198.51.100.{number}", "olaf")
        throttle.wait_s("192.0.2.1", "olaf")
    for _ in range(FROM_ONE_PLACE.free):
        assert throttle.wait_s("192.0.2.1", "olaf", "his browser") == 0
    assert throttle.wait_s("192.0.2.1", "olaf", "his browser") == FIRST_WAIT_S
    throttle.succeeded("192.0.2.1", "olaf", "his browser")
    assert throttle.wait_s("192.0.2.1", "olaf", "his browser") == 0


def test_the_cookie_of_a_known_browser_is_good_for_its_own_name_alone() -> None:
    browsers = KnownBrowsers("a key")
    cookie = browsers.introduce("olaf")
    assert browsers.recognise(cookie, "olaf") is not None
    assert browsers.recognise(browsers.introduce("olaf"), "olaf") != browsers.recognise(cookie, "olaf")
    for wrong in (None, "", cookie[:-1], cookie + "x", "x" * 10_000, KnownBrowsers("another").introduce("olaf")):
        assert browsers.recognise(wrong, "olaf") is None
    assert browsers.recognise(cookie, "vera") is None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, counted: str) -> None:
    assert one_place(address) == counted


def test_memory_stays_bounded_and_keeps_the_newest(
    clock: Clock, throttle: LoginThrottle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.throttle.MOST_REMEMBERED", 100)
    for number in range(1000):
        clock.now += 0.01
        throttle.wait_s(f"198.51.100.{number}", f"name {number}")
    assert len(throttle._attempts) <= 102
    attempts(throttle, FROM_ONE_PLACE.free)
    assert throttle.wait_s("192.0.2.1", "olaf") > 0


def test_passwords_beyond_what_may_wait_are_told_so_at_once() -> None:
    queue = PasswordQueue(most=2)
    with queue.place(), queue.place(), pytest.raises(BusyError, match="try again"), queue.place():
        pass
    with queue.place():
        pass


def test_failed_log_ins_do_not_fill_the_audit(clock: Clock) -> None:
    told: list[tuple[Actor, dict[str, Any]]] = []

    class Audit:
        def add_soon(self, by: Actor, _action: str, **detail: Any) -> None:
            told.append((by, detail))

    failed = FailedLogins(Audit(), clock)  # type: ignore[arg-type]
    for number in range(10_000):
        failed.add(f"name {number}", "192.0.2.1")
    assert len(told) == MOST_A_MINUTE
    assert told[0] == (Actor("name 0", "page", "192.0.2.1"), {"not_listed_before": 0})
    clock.now += 61
    failed.add("olaf", "192.0.2.1")
    assert told[-1][1] == {"not_listed_before": 10_000 - MOST_A_MINUTE}
