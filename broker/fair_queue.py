"""A line for each key, and the lines take turns: who sends many waits behind itself, not in front of the others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Bounded in each line and in all; where all is full, the longest line gives up its last."""

    def __init__(self, most_each: int, most: int) -> None:
        self._most_each = most_each
        self._most = most
        self._lines: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, key: Hashable, item: Item) -> Item | None:
        """Add an item; return the one that has no place for that, which may be the same."""
        line = self._lines.get(key)
        if line is not None and len(line) >= self._most_each:
            return item
        given_up = None
        if self._count >= self._most:
            longest = max(self._lines.values(), key=len)
            if line is not None and len(line) >= len(longest):
                return item
            given_up = longest.pop()
            self._count -= 1  # a line that is empty now is skipped when its turn comes
        self._lines.setdefault(key, deque()).append(item)
        self._count += 1
        return given_up

    def take(self) -> Item | None:
        """Take out the first item of the line whose turn it is; None where nobody waits."""
        while self._lines:
            key, line = self._lines.popitem(last=False)
            if line:
                item = line.popleft()
                self._count -= 1
                if line:
                    self._lines[key] = line
                return item
        return None
