"""The same writing and asking on SQLite, and on the PostgreSQL that `database.url` names: what each takes."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert

from bench.errors import BenchmarkError
from bench.history_fleet import MIDNIGHT, PretendedFleet
from bench.payloads import gpu_uuid
from bench.report import Figure, Result
from gpumon.database_address import DatabaseAddress, database_address
from gpumon.datafolder import DataFolder
from gpumon.settings_sources import load_settings
from master.account_directory import AccountDirectory
from master.accounts import Accounts
from master.audit import BY_ITSELF
from master.bus import EventBus
from master.history.history import History
from master.history.query import Question
from master.history.readings import GPU_QUANTISER, GPU_READINGS
from master.history.store import HistoryStore
from master.history.summary import summary_of_rows
from master.passwords import new_token, token_digest
from master.prepare import prepare
from master.sessions import PageSessions
from master.store.engine import Store
from master.store.models import WorkerTokenRow
from master.store.writer import Writer

WORKERS = 1_000
GPUS = 8
MINUTES = 75
ASKED = 50
FOLDED = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What one database took."""

    minute_ms: float
    minute_cpu_ms: float
    folded_ms: float
    asked_ms: float
    login_ms: float
    unchanged_ms: float
    changed_ms: float
    change_ms: float


def databases() -> Result:
    """Write and fold the minutes of a fleet, ask for them, and change and ask for accounts."""
    servers: dict[str, DatabaseAddress | None] = {"SQLite": None}
    if (there := database_address(load_settings({}, os.environ).database)) is not None:
        servers["PostgreSQL"] = there
    figures = []
    for name, server in servers.items():
        found = _measured(server)
        figures += [
            Figure(f"{name}: a minute of all workers written", round(found.minute_ms), "ms"),
            Figure(f"{name}: CPU of the master for it", round(found.minute_cpu_ms), "ms"),
            Figure(f"{name}: an hour of a worker folded", round(found.folded_ms, 1), "ms"),
            Figure(f"{name}: the last 75 minutes of 8 GPUs, four readings", round(found.asked_ms, 1), "ms"),
            Figure(f"{name}: a worker's log-in at the broker", round(found.login_ms, 2), "ms"),
            Figure(f"{name}: all log-ins looked after, nothing changed", round(found.unchanged_ms, 2), "ms"),
            Figure(f"{name}: all log-ins looked after, after a change", round(found.changed_ms, 1), "ms"),
            Figure(f"{name}: a log-in on the page opened, with its line in the audit", round(found.change_ms, 1), "ms"),
        ]
    return Result(
        name="databases",
        title=f"SQLite and PostgreSQL, {WORKERS:,} workers x {GPUS} GPUs",
        about=(
            f"{MINUTES} minutes of history, written by the master's writer as fast as it goes, and the first hour of "
            f"{FOLDED} workers folded into blocks, one after the other. Then the same questions: medians. PostgreSQL "
            "is where GPUMON_DATABASE_URL says, an empty database; without it, SQLite is measured alone."
        ),
        command=f"GPUMON_DATABASE_URL=... {Path(sys.executable).name} -m bench databases",
        figures=figures,
    )


def _measured(server: DatabaseAddress | None) -> Measured:
    folder = Path(tempfile.mkdtemp(prefix="gpumon-databases-"))
    data = DataFolder(folder, server)
    prepare(data)
    store = Store(data)
    store.start()
    writer = Writer(store)
    writer.start()
    try:
        minute_ms, minute_cpu_ms = _written(store, writer)
        folded_ms = _folded(store, writer)
        return Measured(minute_ms, minute_cpu_ms, folded_ms, _asked(store, writer), *_accounts(data, store))
    finally:
        writer.stop()
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _written(store: Store, writer: Writer) -> tuple[float, float]:
    fleet, kept = PretendedFleet(WORKERS, GPUS, 60.0), HistoryStore(store, writer)
    took, cpu = [], []
    for minute in range(MINUTES):
        start = int(MIDNIGHT) + 60 * minute
        rows = []
        for event in fleet.samples(start, minute):
            of_cards = ((gpu.uuid, GPU_QUANTISER.row(gpu)) for gpu in event.metrics.gpus)
            cards = {uuid: summary_of_rows(row, len(GPU_READINGS)) for uuid, row in of_cards if row is not None}
            rows.append((event.worker_id, cards))
        began, cpu_began = time.perf_counter(), time.process_time()
        for worker_id, cards in rows:
            kept.keep_minute(worker_id, start, cards)
        if not writer.flush(60.0):
            raise BenchmarkError(f"the database cannot be written: {writer.problem}")
        took.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    return 1000 * statistics.median(took), 1000 * statistics.median(cpu)


def _folded(store: Store, writer: Writer) -> float:
    kept = HistoryStore(store, writer)
    left = [FOLDED]

    def fold(connection: Connection) -> bool:
        left[0] -= 1
        return kept.fold(connection, int(MIDNIGHT) + 3600) and left[0] > 0

    began = time.perf_counter()
    writer.run(fold)
    if not writer.flush(300.0):
        raise BenchmarkError("an hour could not be folded within five minutes")
    return 1000 * (time.perf_counter() - began) / FOLDED


def _asked(store: Store, writer: Writer) -> float:
    end = MIDNIGHT + 60 * MINUTES
    history = History(store, writer, EventBus(), load_settings({}, {}).history, clock=lambda: end)

    def ask(number: int) -> None:
        worker = number * 17 % WORKERS
        for index in range(GPUS):
            card = gpu_uuid(worker, index)
            history.ask(Question(f"worker-{worker:04d}", card, GPU_READINGS[:4], MIDNIGHT, end, 500))

    return _median_ms(ask)


def _accounts(data: DataFolder, store: Store) -> tuple[float, float, float, float]:
    tokens = {f"worker-{number:04d}": new_token() for number in range(WORKERS)}
    rows = [{"worker_id": name, "token_sha256": token_digest(token), "created": 0.0} for name, token in tokens.items()]
    with store.write() as connection:
        connection.execute(insert(WorkerTokenRow), rows)
    accounts, sessions, directory = Accounts(store), PageSessions(store), AccountDirectory(data)
    accounts.first_login()
    names = list(tokens)
    present = [directory.authenticate(name, tokens[name]) for name in names]
    known = [principal for principal in present if principal is not None]
    login_ms = _median_ms(lambda number: directory.authenticate(names[number], tokens[names[number]]))
    unchanged_ms = _median_ms(lambda _: directory.outdated(known))
    change_ms = _median_ms(lambda _: sessions.open("admin", 3600.0, "192.0.2.1", "bench"))

    def changed(_: int) -> float:
        accounts.tokens.revoke(accounts.tokens.make("admin", "bench", by=BY_ITSELF)[0].id)
        began = time.perf_counter()
        directory.outdated(known)
        return time.perf_counter() - began

    changed_ms = 1000 * statistics.median(changed(number) for number in range(ASKED))
    directory.close()
    accounts.close()
    return login_ms, unchanged_ms, changed_ms, change_ms


def _median_ms(action: Callable[[int], object]) -> float:
    took = []
    for number in range(ASKED):
        began = time.perf_counter()
        action(number)
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)
