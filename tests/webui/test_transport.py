"""What may wait for one browser."""

from __future__ import annotations

from types import SimpleNamespace

from webui.transport import MAX_WAITING_BYTES, OutboundQueue

PUSH = SimpleNamespace(data="x" * (MAX_WAITING_BYTES // 4))


def test_a_browser_that_reads_nothing_is_given_up() -> None:
    waiting = OutboundQueue()

    for _ in range(5):
        waiting.put(PUSH)

    assert waiting.overflowed
    assert waiting.waiting_bytes == 0


def test_the_picture_of_a_large_fleet_may_wait_with_what_changes_meanwhile() -> None:
    waiting = OutboundQueue()
    picture = SimpleNamespace(data="x" * (3 * MAX_WAITING_BYTES))

    waiting.put(picture)
    waiting.put(PUSH)

    assert not waiting.overflowed
    assert waiting.get_nowait() is picture
