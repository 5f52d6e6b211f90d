"""A master that is killed while it writes history. `python -m bench history` does so fifty times."""

from __future__ import annotations

import random

from bench.history_kills import kill_while_writing


def test_a_kill_loses_no_stored_minute_and_damages_nothing() -> None:
    killed = kill_while_writing(4, random.Random(7))
    assert killed.kills == 4
    assert killed.stored > 0
    assert killed.damaged == 0
    assert killed.stored_lost == 0
    assert killed.most_lost <= 1  # over, but not yet written
