"""Two masters of one fleet: both pages show all of it, also when one of the two dies and comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tests.end_to_end.page_client import PageClient
from tests.peers.support import a_master, workers
from tests.support import eventually

WORKERS = 10
FRESH_S = 3.0


def stale(client: PageClient, worker_ids: list[str]) -> list[str]:
    """Return the workers that the page does not show with a sample of the last seconds."""
    rows = {row["id"]: row for row in client.workers()}
    now = time.time()
    return [
        name
        for name in worker_ids
        if rows.get(name) is None or rows[name]["state"] != "online" or now - rows[name]["last_seen"] > FRESH_S
    ]


def all_current(client: PageClient, worker_ids: list[str]) -> bool:
    return not stale(client, worker_ids)


def test_every_worker_stays_current_on_both_pages_while_a_master_is_killed_and_comes_back(
    tmp_path: Path, shared: Mapping[str, str], mosquitto_port: int
) -> None:
    with a_master(tmp_path, "one", shared) as one, a_master(tmp_path, "two", shared) as two:
        eventually(lambda: one.shares_with(1) and two.shares_with(1), 40)
        fleet = {**one.environment, "GPUMON_MQTT_PORT": str(mosquitto_port), "GPUMON_DATA": str(tmp_path / "workers")}
        with workers(tmp_path, fleet, WORKERS) as ids:
            pages = [one.client(), two.client()]
            eventually(lambda: all(all_current(page, ids) for page in pages), 30)
            both_got = [page.get("workers") for page in pages]
            assert len(both_got) == 2
            two.kill()
            killed = time.monotonic()
            never_stale = True
            while time.monotonic() - killed < 6:
                never_stale = never_stale and all_current(pages[0], ids)
                time.sleep(0.2)
            assert never_stale, stale(pages[0], ids)
            eventually(lambda: one.shares_with(0))
            two.start()
            eventually(lambda: one.shares_with(1) and two.shares_with(1), 40)
            # The cookie of before is still good at the master that came back.
            eventually(lambda: all(all_current(page, ids) for page in pages), 20)
