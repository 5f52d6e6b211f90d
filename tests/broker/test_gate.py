"""Who comes in and who has to go, with a clock that the test holds."""

from __future__ import annotations

import pytest

from broker.counters import BrokerCounters
from broker.gate import PLAIN_GRACE_S, TLS_GRACE_S, Gate, Guest
from broker.limits import Limits


class _Door:
    """A gate, and who was turned away."""

    def __init__(self, **limits: int) -> None:
        self.counters = BrokerCounters()
        self.gate = Gate(Limits(**limits), self.counters)  # type: ignore[arg-type]
        self.turned_away: list[str] = []
        self._count = 0

    def enter(self, address: str, now: float, *, has_tls: bool = False) -> Guest | None:
        name = f"{address} #{self._count}"
        self._count += 1
        return self.gate.enter(address, now, lambda: self.turned_away.append(name), has_tls=has_tls)


@pytest.mark.parametrize(("has_tls", "grace_s"), [(False, PLAIN_GRACE_S), (True, TLS_GRACE_S)])
def test_who_has_been_silent_longest_makes_room_but_not_before_it_had_time(*, has_tls: bool, grace_s: float) -> None:
    door = _Door(max_half_open=3)
    for number in range(3):
        assert door.enter(f"192.0.2.{number}", number / 100, has_tls=has_tls)
    assert not door.gate.is_open(grace_s - 0.1, has_tls=has_tls)
    assert door.gate.is_open(grace_s, has_tls=has_tls)
    assert door.enter("192.0.2.9", grace_s, has_tls=has_tls)
    assert door.turned_away == ["192.0.2.0 #0"]
    assert (door.gate.half_open, door.gate.connections) == (3, 3)


def test_a_flood_on_one_port_leaves_the_other_as_it_is() -> None:
    door = _Door(max_half_open=3)
    assert door.enter("192.0.2.1", 0)
    for number in range(20):
        assert door.enter("192.0.2.2", 10.0 + number // 3 * 10, has_tls=True)
    for _ in range(3):
        assert door.enter("192.0.2.2", 200, has_tls=True)
    assert not door.gate.is_open(200.5, has_tls=True)
    assert door.gate.is_open(200.5)
    assert not [name for name in door.turned_away if name.startswith("192.0.2.1")]


def test_who_has_introduced_itself_is_never_turned_away() -> None:
    door = _Door(max_half_open=2)
    known = [door.enter("192.0.2.1", 0) for _ in range(5)]
    for guest in known:
        assert guest is not None
        door.gate.introduced(guest)
    for number in range(20):
        door.enter("192.0.2.2", 10.0 * number)
    assert len(door.turned_away) == 18
    assert not [name for name in door.turned_away if name.startswith("192.0.2.1")]
    assert door.gate.connections == 7


def test_an_address_that_is_full_turns_away_its_own_silent_ones_and_nobody_elses() -> None:
    door = _Door(max_connections_per_address=3)
    assert door.enter("192.0.2.1", 0)
    for now in (0.0, 0.0, 0.0, 100.0):
        assert door.enter("192.0.2.2", now)
    assert door.turned_away == ["192.0.2.2 #1"]
    assert door.counters.refused_connections == 0


def test_an_address_that_is_full_of_those_who_logged_in_is_refused_until_one_leaves() -> None:
    door = _Door(max_connections_per_address=2)
    guests = [door.enter("192.0.2.1", 0), door.enter("192.0.2.1", 0)]
    for guest in guests:
        assert guest is not None
        door.gate.introduced(guest)
    assert door.enter("192.0.2.1", 50) is None
    assert door.enter("192.0.2.2", 50)
    assert guests[0] is not None
    door.gate.leave(guests[0])
    door.gate.leave(guests[0])
    assert door.enter("192.0.2.1", 50)
    assert door.counters.refused_connections == 1


def test_connections_of_one_address_are_limited_in_their_pace_too() -> None:
    door = _Door(max_connections_per_address=10)
    opened = 0
    for number in range(1000):
        guest = door.enter("192.0.2.1", number / 100)  # a hundred a second for ten seconds
        opened += guest is not None
        if guest is not None:
            door.gate.leave(guest)
    assert opened in range(19, 22)  # ten at once, and ten more in ten seconds
    assert door.enter("192.0.2.2", 10)


def test_this_machines_own_are_spared_from_what_is_counted_by_address() -> None:
    door = _Door(max_connections_per_address=2)
    assert all(door.enter("127.0.0.1", 0) for _ in range(100))
    assert door.gate.connections == 100


def test_connections_in_all_are_bounded_and_silent_ones_make_room() -> None:
    door = _Door(max_connections=3)
    guests = [door.enter("127.0.0.1", 0) for _ in range(3)]
    assert door.enter("127.0.0.1", 0.1) is None
    assert door.enter("127.0.0.1", 5)
    for guest in guests[1:]:
        assert guest is not None
        door.gate.introduced(guest)
    assert door.enter("127.0.0.1", 5.1) is None
    assert len(door.turned_away) == 1


def test_nothing_is_left_of_those_who_left() -> None:
    door = _Door(max_connections_per_address=5)
    for number in range(1000):
        guest = door.enter(f"192.0.2.{number % 250}", number * 10.0)
        assert guest is not None
        door.gate.introduced(guest)
        door.gate.leave(guest)
    assert (door.gate.connections, door.gate.half_open, len(door.gate._addresses)) == (0, 0, 0)
