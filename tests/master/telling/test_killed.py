"""A master that is killed while it tells: nothing is lost, and what may come twice comes under the same key."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.master.telling.services import Post, http_service

KILLS = 4
PROGRAM = [sys.executable, "-m", "tests.master.telling.kill_target"]


def items(post: Post) -> list[tuple[str, str]]:
    """What a message tells: of which alert, and what."""
    return [(each["id"], each["told"]) for each in post.content["alerts"]]


def test_a_kill_loses_nothing_and_tells_nothing_twice_but_under_the_same_key(tmp_path: Path) -> None:
    chance = random.Random(11)
    with http_service() as service:
        arguments = [str(tmp_path), str(service.port)]
        for kill in range(KILLS):
            process = subprocess.Popen([*PROGRAM, *arguments, str(kill * 1000), "60"], stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.1, 1.2))  # a random moment is what is tried here
            process.kill()
            process.wait(10)
            process.stdout.close()
        last = subprocess.run([*PROGRAM, *arguments, "999000", "0"], capture_output=True, timeout=60, check=False)
        assert last.stdout == b"ready\ndone\n", last.stderr.decode()
    with sqlite3.connect(tmp_path / "gpumon.db") as database:
        alerts = dict(database.execute("SELECT id, state FROM alerts").fetchall())
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert {state for (state,) in database.execute("SELECT DISTINCT state FROM notifications")} == {"sent"}
    assert len(alerts) > KILLS
    # As a receiver does: what comes under a key that it has seen is dropped.
    seen = {post.headers["Idempotency-Key"]: post for post in reversed(service.posts)}
    told = [item for post in seen.values() for item in items(post)]
    beginnings = [alert_id for alert_id, what in told if what in ("firing", "over")]
    ends = [alert_id for alert_id, what in told if what in ("resolved", "over")]
    assert sorted(beginnings) == sorted(alerts)
    assert sorted(ends) == sorted(alert_id for alert_id, state in alerts.items() if state == "resolved")
    # And whoever does not look at keys reads that it may be a second time.
    for key in seen:
        same = [post.content["repeated"] for post in service.posts if post.headers["Idempotency-Key"] == key]
        assert same.count(False) <= 1
