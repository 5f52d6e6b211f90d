"""What waits for a slow reader is bounded, and is given up in the right order."""

from __future__ import annotations

from broker.outbox import MESSAGE_OVERHEAD_BYTES, Outbox, Queued
from broker.packets import Message


def _message(name: str, size: int = 1) -> Message:
    return Message(name, bytes(size), 1)


def _drained(outbox: Outbox) -> list[str]:
    taken = []
    while (delivery := outbox.take(acknowledged=True)) is not None:
        taken.append(delivery.message.topic)
    return taken


def test_messages_come_out_in_the_order_they_came_whatever_their_qos() -> None:
    outbox = Outbox(10, Queued())
    for number in range(6):
        outbox.put(_message(str(number)), number % 2)
    assert _drained(outbox) == ["0", "1", "2", "3", "4", "5"]


def test_the_oldest_of_qos_0_is_dropped_first_then_the_oldest_of_qos_1() -> None:
    outbox = Outbox(3, Queued())
    assert [outbox.put(_message(name), qos) for name, qos in (("a", 1), ("b", 0), ("c", 0))] == [0, 0, 0]
    assert [outbox.put(_message(name), 1) for name in ("d", "e", "f")] == [1, 1, 1]
    assert _drained(outbox) == ["d", "e", "f"]


def test_large_messages_are_bounded_by_their_bytes() -> None:
    outbox = Outbox(1000, Queued(), max_bytes=100 + 2 * MESSAGE_OVERHEAD_BYTES)
    for number in range(10):
        outbox.put(_message(str(number), 40), 0)
    assert _drained(outbox) == ["8", "9"]
    assert outbox.put(_message("larger than all", 500), 0) == 0
    assert _drained(outbox) == ["larger than all"]


def test_what_waits_for_several_readers_counts_once_for_all() -> None:
    queued, message = Queued(), _message("shared", 1000)
    outboxes = [Outbox(10, queued) for _ in range(5)]
    for outbox in outboxes:
        outbox.put(message, 1)
    assert queued.size == 1000 + 5 * MESSAGE_OVERHEAD_BYTES
    outboxes[0].clear()
    outboxes[1].take(acknowledged=True)
    assert queued.size == 1000 + 3 * MESSAGE_OVERHEAD_BYTES
    for outbox in outboxes:
        outbox.clear()
    assert queued.size == 0
    assert all(outbox.size == 0 for outbox in outboxes)


def test_who_does_not_acknowledge_still_gets_qos_0() -> None:
    outbox = Outbox(10, Queued())
    outbox.put(_message("acknowledged"), 1)
    outbox.put(_message("plain"), 0)
    delivery = outbox.take(acknowledged=False)
    assert delivery is not None
    assert delivery.message.topic == "plain"
    assert outbox.take(acknowledged=False) is None
    assert _drained(outbox) == ["acknowledged"]
