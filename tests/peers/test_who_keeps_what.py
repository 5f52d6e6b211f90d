"""Which masters are taken for present, and how workers are shared out among them."""

from __future__ import annotations

from collections import Counter

from master.peers.roster import GONE_AFTER_S, LET_GO_AFTER_S, SETTLED_AFTER_S, Roster, keeper_of

WORKERS = [f"w{number}" for number in range(3000)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def settled(clock: Clock, *others: str) -> Roster:
    """A roster that has listened long enough, and hears these."""
    roster = Roster(clock)
    roster.begin("me")
    assert roster.members(is_listening=True) is None
    clock.now += SETTLED_AFTER_S
    for name in others:
        roster.beats(name)
    return roster


def test_workers_are_shared_out_evenly_and_only_those_of_a_master_that_goes_move() -> None:
    three, two = ("a", "b", "c"), ("a", "b")
    before = {name: keeper_of(name, three) for name in WORKERS}
    assert all(900 < count < 1100 for count in Counter(before.values()).values())
    after = {name: keeper_of(name, two) for name in WORKERS}
    assert all(after[name] == before[name] for name in WORKERS if before[name] != "c")
    assert keeper_of("w1", ()) is None


def test_a_master_knows_nobody_until_it_has_listened_for_a_while() -> None:
    clock = Clock()
    roster = settled(clock, "other")
    assert roster.members(is_listening=True) == ("me", "other")


def test_who_says_nothing_more_is_gone_after_a_while_and_who_says_so_at_once() -> None:
    clock = Clock()
    roster = settled(clock, "silent", "ending")
    roster.is_gone("ending")
    assert roster.members(is_listening=True) == ("me", "silent")
    for _ in range(8):
        clock.now += GONE_AFTER_S / 8
        members = roster.members(is_listening=True)
    assert members == ("me",)


def test_a_moment_without_the_broker_changes_nothing_and_a_longer_one_lets_go_of_everything() -> None:
    clock = Clock()
    roster = settled(clock, "other")
    assert roster.members(is_listening=True) == ("me", "other")
    clock.now += LET_GO_AFTER_S - 0.1
    assert roster.members(is_listening=False) == ("me", "other")
    assert roster.members(is_listening=True) == ("me", "other")
    clock.now += LET_GO_AFTER_S + 0.1
    assert roster.members(is_listening=False) is None
    assert roster.members(is_listening=True) is None  # it begins anew
    clock.now += SETTLED_AFTER_S
    assert roster.members(is_listening=True) == ("me",)
