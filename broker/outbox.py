"""What waits for a reader that is slower than its messages: bounded in number and bytes, oldest QoS 0 dropped first.

amqtt's queues are unbounded: one reader that stops reading takes the broker's memory.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import NamedTuple

from broker.packets import Message

MAX_QUEUED_BYTES = 64 * 1024 * 1024
MAX_QUEUED_BYTES_IN_ALL = 256 * 1024 * 1024
MESSAGE_OVERHEAD_BYTES = 256  # what Python takes for a message and its place in the queue


class Delivery(NamedTuple):
    """A message for one reader, at the QoS it is delivered at; `number` keeps the order over both QoS."""

    number: int
    message: Message
    qos: int


class Queued:
    """How many bytes wait for all readers together; a message that waits for several is there once."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def add(self, message: Message) -> None:
        """Count a message that waits for one reader more."""
        message.waiting += 1
        self.size += MESSAGE_OVERHEAD_BYTES + (len(message.payload) if message.waiting == 1 else 0)

    def remove(self, message: Message) -> None:
        """Count a message that waits for one reader fewer."""
        message.waiting -= 1
        self.size -= MESSAGE_OVERHEAD_BYTES + (0 if message.waiting else len(message.payload))


class Outbox:
    """The messages that wait for one reader, in order; `queued` sums up those of all readers."""

    def __init__(self, max_messages: int, queued: Queued, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queued = queued
        self.size = 0
        self._numbers = itertools.count()
        self._by_qos: tuple[deque[Delivery], deque[Delivery]] = (deque(), deque())

    def __len__(self) -> int:
        return len(self._by_qos[0]) + len(self._by_qos[1])

    def put(self, message: Message, qos: int) -> int:
        """Add a message; return how many had to be dropped to keep within the bounds."""
        self._by_qos[qos].append(Delivery(next(self._numbers), message, qos))
        self.size += len(message.payload) + MESSAGE_OVERHEAD_BYTES
        self._queued.add(message)
        dropped = 0
        while len(self) > self._max_messages or (self.size > self._max_bytes and len(self) > 1):
            self._pop(0 if self._by_qos[0] else 1)
            dropped += 1
        return dropped

    def take(self, *, acknowledged: bool) -> Delivery | None:
        """Take out the next message, of QoS 0 alone unless `acknowledged` ones may be sent too."""
        unacknowledged, waiting = self._by_qos
        if acknowledged and waiting and (not unacknowledged or waiting[0].number < unacknowledged[0].number):
            return self._pop(1)
        return self._pop(0) if unacknowledged else None

    def clear(self) -> None:
        """Let go of everything."""
        for queue in self._by_qos:
            for delivery in queue:
                self._queued.remove(delivery.message)
            queue.clear()
        self.size = 0

    def _pop(self, qos: int) -> Delivery:
        delivery = self._by_qos[qos].popleft()
        self.size -= len(delivery.message.payload) + MESSAGE_OVERHEAD_BYTES
        self._queued.remove(delivery.message)
        return delivery
