"""The retained messages: a tree of topic levels, so that a filter costs what it finds, bounded for each publisher."""

from __future__ import annotations

from dataclasses import dataclass

from broker.packets import Message

# Twice what a worker with 16 GPUs in 7 MIG slices each announces (a status, an inventory, a sample, its devices).
MAX_TOPICS_EACH = 256
MAX_BYTES_EACH = 16 * 1024 * 1024
MAX_TOPICS = 1_000_000
MAX_BYTES = 2 * 1024 * 1024 * 1024


class _Level:
    __slots__ = ("children", "kept")

    def __init__(self) -> None:
        self.children: dict[str, _Level] = {}
        self.kept: _Kept | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    message: Message
    publisher: str | None


@dataclass(slots=True)
class _Sum:
    topics: int = 0
    size: int = 0


class RetainedMessages:
    """Keeps the last retained message of each topic, and finds those under a filter."""

    def __init__(self, max_topics_each: int = MAX_TOPICS_EACH, max_bytes_each: int = MAX_BYTES_EACH) -> None:
        self._max_topics_each = max_topics_each
        self._max_bytes_each = max_bytes_each
        self._root = _Level()
        self._sums: dict[str | None, _Sum] = {}
        self._all = _Sum()

    def __len__(self) -> int:
        return self._all.topics

    def put(self, message: Message, publisher: str | None) -> bool:
        """Keep a message, an empty one clears its topic (MQTT 3.1.1 section 3.3.1.3); tell whether it was taken.

        Each publisher may have `max_topics_each` topics and `max_bytes_each` bytes; None is without a bound of its own.
        """
        path = message.topic.split("/")
        before = self._find(path)
        if not message.payload:
            if before is not None:
                self._remove(path, before)
            return True
        own = self._sums.get(publisher, _Sum())
        replaced = before is not None and before.publisher == publisher
        old_size = _size(before.message) if before is not None else 0
        topics, size = own.topics + (not replaced), own.size + _size(message) - (old_size if replaced else 0)
        if publisher is not None and (topics > self._max_topics_each or size > self._max_bytes_each):
            return False
        if self._all.topics + (before is None) > MAX_TOPICS or self._all.size + _size(message) - old_size > MAX_BYTES:
            return False
        if before is not None:
            self._count(before, -1)
        level = self._root
        for name in path:
            level = level.children.setdefault(name, _Level())
        level.kept = _Kept(message, publisher)
        self._count(level.kept, 1)
        return True

    def get(self, topic: str) -> Message | None:
        """Return what is retained on a topic."""
        kept = self._find(topic.split("/"))
        return kept.message if kept is not None else None

    def topics(self, topic_filter: str) -> list[str]:
        """Return the topics under a filter that have a message."""
        levels = [self._root]
        for index, name in enumerate(topic_filter.split("/")):
            if name == "#":
                # Wildcards at the first level do not match topics that begin with $ (MQTT 3.1.1 section 4.7.2).
                below = _below(self._root, is_first=True) if index == 0 else levels
                return [kept.message.topic for level in below for kept in _subtree(level)]
            if name == "+":
                levels = [child for level in levels for child in _below(level, is_first=index == 0)]
            else:
                levels = [child for level in levels if (child := level.children.get(name)) is not None]
        return [level.kept.message.topic for level in levels if level.kept is not None]

    def clear(self) -> None:
        """Let go of everything."""
        self._root = _Level()
        self._sums.clear()
        self._all = _Sum()

    def _find(self, path: list[str]) -> _Kept | None:
        level: _Level | None = self._root
        for name in path:
            level = level.children.get(name) if level is not None else None
        return level.kept if level is not None else None

    def _remove(self, path: list[str], kept: _Kept) -> None:
        levels = [self._root]
        for name in path:
            levels.append(levels[-1].children[name])
        levels[-1].kept = None
        self._count(kept, -1)
        for name, level, parent in zip(reversed(path), levels[:0:-1], levels[-2::-1], strict=True):
            if level.children or level.kept is not None:
                break
            del parent.children[name]

    def _count(self, kept: _Kept, sign: int) -> None:
        own = self._sums.setdefault(kept.publisher, _Sum())
        for total in (own, self._all):
            total.topics += sign
            total.size += sign * _size(kept.message)
        if not own.topics:
            del self._sums[kept.publisher]


def _size(message: Message) -> int:
    return len(message.topic) + len(message.payload)


def _below(level: _Level, *, is_first: bool) -> list[_Level]:
    return [child for name, child in level.children.items() if not (is_first and name.startswith("$"))]


def _subtree(level: _Level) -> list[_Kept]:
    found, waiting = [], [level]
    while waiting:
        level = waiting.pop()
        if level.kept is not None:
            found.append(level.kept)
        waiting.extend(level.children.values())
    return found
