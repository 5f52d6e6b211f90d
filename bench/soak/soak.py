"""A fleet of real workers while everything goes wrong, and what is left afterwards."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from bench.children import Children
from bench.deployment import GPUMON, free_port
from bench.errors import BenchmarkError
from bench.processes import memory_bytes
from bench.report import Figure, Result
from bench.soak.faults import FLOODER, Planned, plan, suffer
from bench.soak.installation import INTERVAL_S, Installation, small_disk
from bench.soak.operator import COMMAND_TIMEOUT_S, Operator, Outcome
from bench.soak.results_heard import ResultsHeard
from bench.soak.rough_link import RoughLink
from gpumon.files import read_secret
from gpumon.settings import HistorySettings

WORKERS = 300
# By these, a run is repeated and tried for a shorter time.
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
WARM_UP_S = 40.0
CURRENT_WITHIN_S = 10.0
GIVE_UP_AFTER_S = 90.0
# The master decides that a result will not come this long after a command's time is over.
LOST_AFTER_S = 30.0


def soak() -> Result:
    """Watch 300 workers for ten minutes in which something is always going wrong."""
    planned = plan(SEED, SECONDS)
    with (
        tempfile.TemporaryDirectory(prefix="gpumon-soak-") as name,
        small_disk(Path(name)) as disk,
        Children(Path(name)) as children,
    ):
        folder = Path(name)
        link = RoughLink(free_port(), free_port())
        installation = Installation(disk, children, WORKERS, link)
        installation.add_accounts(WORKERS, FLOODER)
        installation.start()
        try:
            return _watch(installation, planned, folder)
        finally:
            link.stop()


def _watch(installation: Installation, planned: list[Planned], folder: Path) -> Result:
    operator = Operator(installation.page, _api_token(installation), installation.worker_ids, folder / "ran", SEED)
    heard = ResultsHeard(installation.mqtt_port, read_secret(installation.data.master_secret))
    _until_current(operator, GIVE_UP_AFTER_S)
    heard.start()
    time.sleep(WARM_UP_S)
    before = _memory(installation)
    operator.start()
    happened = suffer(installation, planned, _say)
    operator.stop()
    current_s = _until_current(operator, GIVE_UP_AFTER_S)
    _say(f"every worker is current after {current_s:.1f} s")
    time.sleep(COMMAND_TIMEOUT_S + LOST_AFTER_S + 5.0)
    outcome = operator.outcome()
    after = _memory(installation)
    heard.stop()
    installation.end()
    memory_mb = {name: after[name] - before[name] for name in before}
    return _result(
        happened, outcome, memory_mb, current_s=current_s, results=heard.most_for_one, damage=_damage(installation)
    )


def _until_current(operator: Operator, timeout_s: float) -> float:
    """Return after how many seconds every worker has been heard of since now, and is shown as reachable."""
    began, began_wall = time.monotonic(), time.time()
    late: list[str] = []
    while time.monotonic() - began < timeout_s:
        try:
            rows = operator.workers()
        except requests.RequestException:
            rows = []
        late = [str(row["id"]) for row in rows if row["id"] != FLOODER and not _is_current(row, began_wall)]
        if len(rows) >= WORKERS and not late:
            return time.monotonic() - began
        time.sleep(0.25)
    raise BenchmarkError(f"not current after {timeout_s} s (seed {SEED}): {late[:5]} and {len(late)} in all")


def _is_current(row: dict[str, object], since: float) -> bool:
    heard = row["last_seen"]
    return row["state"] not in ("offline", "stale") and isinstance(heard, float) and heard >= since


def _api_token(installation: Installation) -> str:
    command = [*GPUMON, "user", "token", "watcher", "--label", "soak", "--data", str(installation.data.root)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _memory(installation: Installation) -> dict[str, float]:
    return {name: memory_bytes(pid)[0] / 1e6 for name, pid in installation.pids().items()}


def _damage(installation: Installation) -> list[str]:
    """Return what SQLite finds wrong with the database."""
    connection = sqlite3.connect(installation.data.database)
    try:
        found = [str(line) for (line,) in connection.execute("PRAGMA integrity_check")]
        found += [str(line) for line in connection.execute("PRAGMA foreign_key_check")]
    finally:
        connection.close()
    return [line for line in found if line != "ok"]


def _result(
    happened: dict[str, int],
    outcome: Outcome,
    memory_mb: dict[str, float],
    *,
    current_s: float,
    results: int,
    damage: list[str],
) -> Result:
    raw_mb = HistorySettings().raw_memory_mib * 1.05
    faults = ", ".join(f"{name} {times} x" for name, times in sorted(happened.items()))
    ended = ", ".join(f"{count} {state}" for state, count in sorted(outcome.by_state.items()))
    return Result(
        name="soak",
        title=f"{SECONDS / 60:g} minutes of faults under {WORKERS} workers",
        about=(
            f"`gpumon up` on a small disk, {WORKERS} real workers with made-up cards at {INTERVAL_S:g} s in ten "
            "processes, behind a link that can be cut and slowed; two and a half times a second somebody runs a "
            f"command on a worker by chance. Seed {SEED}: {faults}. "
            f"Of the commands that the page took, {ended}. Memory is compared with that of the first minute; a master "
            f"that has run for long also holds raw samples, {raw_mb:.0f} MB at most."
        ),
        command=f"SOAK_SEED={SEED} .venv/bin/python -m bench soak",
        figures=[
            Figure("every worker current after the last fault", current_s, "s", target=CURRENT_WITHIN_S),
            Figure("commands taken", outcome.taken, ""),
            Figure("commands asked for while the page was down", outcome.unanswered, ""),
            Figure("commands that ran more than once", max(0, outcome.ran_at_most - 1), "", target=0),
            Figure("commands with more than one result", max(0, results - 1), "", target=0),
            Figure("commands still shown as running", len(outcome.not_ended), "", target=0),
            Figure("commands whose state is not what happened", len(outcome.wrong), "", target=0),
            Figure("broker's memory, more than before", memory_mb["broker"], "MB", target=30),
            Figure(
                "master's memory, more than before",
                memory_mb["master and page"],
                "MB",
                target=30 + raw_mb,
            ),
            Figure("damages in the database", len(damage), "", target=0),
        ],
        remarks=[*outcome.wrong[:5], *damage[:5]],
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
