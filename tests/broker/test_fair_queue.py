"""Lines that take turns."""

from __future__ import annotations

from broker.fair_queue import FairQueue


def _all(queue: FairQueue[str]) -> list[str]:
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    return taken


def test_lines_take_turns_so_that_many_of_one_do_not_delay_another() -> None:
    queue: FairQueue[str] = FairQueue(10, 100)
    for number in range(5):
        queue.put("flood", f"flood {number}")
    queue.put("honest", "honest")
    assert _all(queue) == ["flood 0", "honest", "flood 1", "flood 2", "flood 3", "flood 4"]
    assert len(queue) == 0


def test_a_line_is_bounded_and_its_own_last_has_to_go() -> None:
    queue: FairQueue[str] = FairQueue(2, 100)
    assert [queue.put("a", name) for name in ("1", "2", "3")] == [None, None, "3"]
    assert queue.put("b", "4") is None
    assert _all(queue) == ["1", "4", "2"]


def test_where_all_is_full_the_longest_line_makes_room_for_a_shorter_one() -> None:
    queue: FairQueue[str] = FairQueue(3, 4)
    for name in ("1", "2", "3"):
        queue.put("a", name)
    queue.put("b", "4")
    assert queue.put("c", "5") == "3"
    assert queue.put("a", "6") == "6"
    assert _all(queue) == ["1", "4", "5", "2"]
