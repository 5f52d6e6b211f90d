"""Which masters are taken for present, and how workers are shared out among them."""

from __future__ import annotations

from collections import Counter

from master.peers.roster import GONE_AFTER_S, LET_GO_AFTER_S, SETTLED_AFTER_S, Members, Roster, keeper_of

WORKERS = [f"w{number}" for number in range(3000)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def settled(clock: Clock, *others: str) -> Roster:
    """A roster that has listened long enough, and hears these."""
    roster = Roster(clock, wall=clock)
    roster.begin("me")
    assert members(roster) == ()
    clock.now += SETTLED_AFTER_S
    for name in others:
        roster.beats(name)
    return roster


def members(roster: Roster, *, is_listening: bool = True) -> Members:
    return roster.look(is_listening=is_listening).members


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
    assert members(roster) == ("me", "other")


def test_who_says_nothing_more_is_gone_after_a_while_and_who_says_so_at_once() -> None:
    clock = Clock()
    roster = settled(clock, "silent", "ending")
    roster.is_gone("ending")
    assert members(roster) == ("me", "silent")
    for _ in range(8):
        clock.now += GONE_AFTER_S / 8
        present = members(roster)
    assert present == ("me",)
    assert roster.is_one_silent
    clock.now += 1.0
    roster.is_gone("silent")  # the broker has noticed as well
    assert not roster.is_one_silent


def test_a_moment_without_the_broker_changes_nothing_and_a_longer_one_lets_go_of_everything() -> None:
    clock = Clock()
    roster = settled(clock, "other")
    assert members(roster) == ("me", "other")
    for _ in range(2):
        clock.now += LET_GO_AFTER_S / 2 - 0.1
        assert members(roster, is_listening=False) == ("me", "other")
    assert members(roster) == ("me", "other")
    first = roster.look(is_listening=True)
    for _ in range(3):
        clock.now += LET_GO_AFTER_S / 2
        assert members(roster, is_listening=False) in ((), first.members)
    again = roster.look(is_listening=True)
    assert again.members == ()  # it begins anew
    assert again.spell > first.spell
    assert not again.was_late
    clock.now += SETTLED_AFTER_S
    assert members(roster) == ("me",)


def test_a_master_that_was_stopped_for_a_while_knows_that_others_have_its_workers() -> None:
    clock = Clock()
    roster = settled(clock, "other")
    first = roster.look(is_listening=True)
    clock.now += LET_GO_AFTER_S + 0.1
    again = roster.look(is_listening=True)
    assert again.members == ()
    assert again.spell > first.spell
    assert again.was_late
