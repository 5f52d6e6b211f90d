"""What a client that is connected keeps in the broker's memory."""

from __future__ import annotations

from broker.packets import Message


def test_a_retained_message_keeps_no_packet_beside_its_payload() -> None:
    message = Message("gpumon/w1/metrics", b"x" * 1000, 0, retain=True)
    first = message.encode(None, retain=False)

    message.forget_packet()

    again = message.encode(None, retain=False)
    assert again == first
    assert again is not first
