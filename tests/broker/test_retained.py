"""Retained messages: found by filter as comparing each would, and bounded for each publisher."""

from __future__ import annotations

import itertools
import random

from broker.packets import Message
from broker.retained import RetainedMessages
from broker.subscriptions import filter_matches


def _message(topic: str, size: int = 1) -> Message:
    return Message(topic, bytes(size), 0, retain=True)


def test_the_tree_finds_the_same_topics_as_comparing_all_while_they_come_and_go() -> None:
    chance = random.Random(3)
    names = ["a", "b", "", "$x"]
    topics = ["/".join(each) for size in (1, 2, 3) for each in itertools.product(names, repeat=size)]
    filters = [
        "/".join((*each, *end))
        for size in (0, 1, 2, 3)
        for each in itertools.product([*names, "+"], repeat=size)
        for end in ((), ("#",))
        if each or end
    ]
    retained = RetainedMessages()
    known: set[str] = set()
    for _ in range(600):
        topic, topic_filter = chance.choice(topics), chance.choice(filters)
        keep = chance.random() < 0.5
        assert retained.put(_message(topic, int(keep)), chance.choice([None, "w1", "w2"]))
        known = known | {topic} if keep else known - {topic}
        found = retained.topics(topic_filter)
        assert sorted(found) == sorted(each for each in known if filter_matches(topic_filter, each))
        assert all((retained.get(each) is not None) == (each in known) for each in topics)
        assert len(retained) == len(known)
    for topic in topics:
        retained.put(_message(topic, 0), None)
    assert not retained._root.children
    assert not retained._sums


def test_a_publisher_may_keep_so_many_topics_and_bytes_and_others_are_not_hurt() -> None:
    retained = RetainedMessages(max_topics_each=3, max_bytes_each=1000)
    assert [retained.put(_message(f"w1/{number}"), "w1") for number in range(5)] == [True, True, True, False, False]
    assert retained.put(_message("w2/0"), "w2")
    assert not retained.put(_message("w2/0", 1000), "w2")
    assert retained.put(_message("w2/0", 900), "w2")
    assert retained.put(_message("w2/0", 900), "w2")
    assert retained.put(_message("w1/0", 0), "w1")
    assert retained.put(_message("w1/9"), "w1")
    assert all(retained.put(_message(f"of the master/{number}", 1000), None) for number in range(10))


def test_a_message_counts_for_who_published_it_last() -> None:
    retained = RetainedMessages(max_topics_each=1)
    assert retained.put(_message("a"), "w1")
    assert retained.put(_message("a"), None)
    assert retained.put(_message("b"), "w1")
    assert not retained.put(_message("a"), "w1")
