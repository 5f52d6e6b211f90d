"""A master that is killed while it counts, and goes on where it was."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from gpumon.datafolder import DataFolder
from master.prepare import prepare
from master.store.engine import Store
from tests.master.usage.support import MIDNIGHT, card, process, running

KILLS = 5


def counted_until_killed(folder: Path, start: float, after_s: float) -> float:
    """Count from `start` on, kill it, and return up to when it said that everything is stored."""
    command = [sys.executable, "-m", "tests.master.usage.killed_process", str(folder), f"{start}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as counting:
        assert counting.stdout is not None
        assert counting.stdout.readline() == "began\n"
        time.sleep(after_s)
        counting.kill()
        told = [float(line) for line in counting.stdout if line.endswith("\n")]
    return max(told, default=start)


def test_a_kill_loses_at_most_the_running_minute_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    chance = random.Random(5)
    data = DataFolder(tmp_path / "data")
    prepare(data)
    start, stored_s = MIDNIGHT, 0.0
    for _ in range(KILLS):
        until = counted_until_killed(data.root, start, chance.uniform(0.05, 0.5))
        stored_s += until - start
        store = Store(data)
        store.start()
        with running(store, until) as run:
            found = run.ask(end=until + 10 * 3600).get("chen")
            with store.read() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        store.stop()
        kept_s = 0 if found is None else round(3600 * found.held_hours)
        assert stored_s <= kept_s <= stored_s + 120
        # What was stored of the minute that was running is more than what was said.
        start, stored_s = until + (kept_s - stored_s), float(kept_s)
    assert stored_s > 0


def test_a_stop_in_the_middle_of_an_hour_loses_nothing(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    prepare(data)
    held = card(process("chen"))
    for part in range(3):
        store = Store(data)
        store.start()
        with running(store, MIDNIGHT + 1000 * part) as run:
            run.tell(held)
            run.run(203, held)
            assert run.seconds() == {"chen": 203 * (part + 1)}
        store.stop()
