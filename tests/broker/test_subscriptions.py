"""The tree of subscriptions finds the same readers as comparing every filter would."""

from __future__ import annotations

import itertools
import random

import pytest

from broker.subscriptions import SubscriptionTree, check_filter, filter_matches
from gpumon.errors import InvalidTopicError


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        # The examples of MQTT 3.1.1 section 4.7.
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/monitor/Clients", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor/Clients", True),
        ("a/b", "a/b", True),
        ("a/b", "a/b/", False),
        ("A/b", "a/b", False),
    ],
)
def test_filters_match_as_the_standard_says(topic_filter: str, topic: str, *, matches: bool) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(topic_filter, "reader", 0)
    assert filter_matches(topic_filter, topic) == matches
    assert tree.match(topic) == ({"reader": 0} if matches else {})


def test_the_tree_agrees_with_comparing_every_filter_while_subscriptions_come_and_go() -> None:
    chance = random.Random(7)
    levels = ["a", "b", "", "$x"]
    topics = ["/".join(names) for size in (1, 2, 3) for names in itertools.product(levels, repeat=size)]
    filters = [
        "/".join((*names, *end))
        for size in (1, 2, 3)
        for names in itertools.product([*levels, "+"], repeat=size)
        for end in ((), ("#",))
    ]
    tree: SubscriptionTree[int] = SubscriptionTree()
    known: dict[tuple[str, int], int] = {}
    for _ in range(400):
        topic_filter, reader, qos = chance.choice(filters), chance.randrange(5), chance.randrange(2)
        if chance.random() < 0.5:
            tree.add(topic_filter, reader, qos)
            known[topic_filter, reader] = qos
        elif chance.random() < 0.9:
            tree.remove(topic_filter, reader)
            known.pop((topic_filter, reader), None)
        else:
            tree.remove_reader(reader)
            known = {key: granted for key, granted in known.items() if key[1] != reader}
        topic = chance.choice(topics)
        expected: dict[int, int] = {}
        for (wanted, who), granted in known.items():
            if filter_matches(wanted, topic):
                expected[who] = max(granted, expected.get(who, 0))
        assert tree.match(topic) == expected
        assert all(tree.count(who) == sum(key[1] == who for key in known) for who in range(5))


def test_a_tree_without_readers_is_empty_again() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter in ("a/b/c", "a/b", "a/+/c", "a/#", "#"):
        tree.add(topic_filter, "reader", 1)
    tree.remove_reader("reader")
    assert not tree._root.children
    assert not tree._filters


def test_who_subscribes_while_readers_are_walked_through_disturbs_nobody() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    for reader in range(10):
        tree.add("a", reader, 0)
    seen = []
    for reader in tree.match("a"):
        tree.add("a", 100 + reader, 0)
        tree.add("+", 200 + reader, 0)
        seen.append(reader)
    assert seen == list(range(10))


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a/b+", "++", "##", "a\0b", "/" * 40, "$share/group/a"])
def test_a_filter_that_is_none_is_refused(topic_filter: str) -> None:
    with pytest.raises(InvalidTopicError):
        check_filter(topic_filter)
