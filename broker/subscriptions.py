"""Who has subscribed to what: a tree of topic levels, so that a message costs a few look-ups however many subscribe.

amqtt compares the topic of every message with every filter there is, and walks all of them again when a client comes
or goes.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from gpumon.errors import InvalidTopicError

MAX_LEVELS = 16
MAX_TOPIC_CHARACTERS = 1024

Reader = TypeVar("Reader", bound=Hashable)


class _Level(Generic[Reader]):
    __slots__ = ("children", "readers")

    def __init__(self) -> None:
        self.children: dict[str, _Level[Reader]] = {}
        self.readers: dict[Reader, int] = {}


class SubscriptionTree(Generic[Reader]):
    """Keeps each reader's filters with the QoS granted, and finds the readers of a topic."""

    def __init__(self) -> None:
        self._root: _Level[Reader] = _Level()
        self._filters: dict[Reader, set[str]] = {}

    def add(self, topic_filter: str, reader: Reader, qos: int) -> None:
        """Subscribe; a second time with the same filter replaces the QoS (MQTT 3.1.1 section 3.8.4)."""
        level = self._root
        for name in topic_filter.split("/"):
            level = level.children.setdefault(name, _Level())
        level.readers[reader] = qos
        self._filters.setdefault(reader, set()).add(topic_filter)

    def remove(self, topic_filter: str, reader: Reader) -> None:
        """End one subscription, where there is one."""
        filters = self._filters.get(reader)
        if filters is None or topic_filter not in filters:
            return
        filters.remove(topic_filter)
        if not filters:
            del self._filters[reader]
        path = [(self._root, "")]
        for name in topic_filter.split("/"):
            path.append((path[-1][0].children[name], name))
        del path[-1][0].readers[reader]
        for (parent, _), (level, name) in zip(path[-2::-1], path[:0:-1], strict=True):
            if level.readers or level.children:
                break
            del parent.children[name]

    def remove_reader(self, reader: Reader) -> None:
        """End everything that this reader has subscribed to; costs as much as it has subscribed to."""
        for topic_filter in tuple(self._filters.get(reader, ())):
            self.remove(topic_filter, reader)

    def count(self, reader: Reader) -> int:
        """Return how many filters this reader has subscribed to."""
        return len(self._filters.get(reader, ()))

    def match(self, topic: str) -> dict[Reader, int]:
        """Return the readers of a topic, each once, with the highest QoS granted (MQTT 3.1.1 section 3.3.5).

        The answer is the caller's own: subscribing while it is walked through changes nothing in it.
        """
        found: dict[Reader, int] = {}
        levels = [self._root]
        # Wildcards at the first level do not match topics that begin with $ (MQTT 3.1.1 section 4.7.2).
        wildcards = not topic.startswith("$")
        for name in topic.split("/"):
            below = []
            for level in levels:
                children = level.children
                if (child := children.get(name)) is not None:
                    below.append(child)
                if wildcards:
                    if (child := children.get("+")) is not None:
                        below.append(child)
                    if (child := children.get("#")) is not None:
                        _collect(child, found)
            levels, wildcards = below, True
            if not levels:
                return found
        for level in levels:
            _collect(level, found)
            if (child := level.children.get("#")) is not None:  # `a/#` matches `a` too
                _collect(child, found)
        return found


def _collect(level: _Level[Reader], found: dict[Reader, int]) -> None:
    if not found:
        found.update(level.readers)
        return
    for reader, qos in level.readers.items():
        if found.get(reader, -1) < qos:
            found[reader] = qos


def check_filter(topic_filter: str) -> None:
    """Check that a filter is one (MQTT 3.1.1 section 4.7) that the broker serves.

    Raises InvalidTopicError: for an empty one, a wildcard that is not a level of its own, `#` before the end, more than
    `MAX_LEVELS` levels or `MAX_TOPIC_CHARACTERS`, and shared subscriptions, which MQTT 3.1.1 does not have.
    """
    levels = topic_filter.split("/")
    shown = repr(topic_filter[:200])
    if not topic_filter or "\0" in topic_filter or len(levels) > MAX_LEVELS or len(topic_filter) > MAX_TOPIC_CHARACTERS:
        raise InvalidTopicError(
            f"topic filter {shown}: 1 to {MAX_LEVELS} levels and {MAX_TOPIC_CHARACTERS} characters are taken"
        )
    if levels[0] == "$share":
        raise InvalidTopicError(f"topic filter {shown}: this broker has no shared subscriptions")
    if "#" in levels[:-1] or any(len(name) > 1 and ("#" in name or "+" in name) for name in levels):
        raise InvalidTopicError(f"topic filter {shown}: '+' must be a whole level, '#' the whole last one")


def filter_matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a topic matches a filter with wildcards, or equals one without."""
    names, wanted = topic.split("/"), topic_filter.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, name in enumerate(wanted):
        if name == "#":
            return True
        if index >= len(names) or name not in ("+", names[index]):
            return False
    return len(names) == len(wanted)
