"""The one writer: batches, faults of the database, and what a killed process leaves behind."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from sqlalchemy import Connection, event

from gpumon.datafolder import DataFolder
from master.store.engine import Store
from master.store.models import CommandRow, TargetRow, WorkerRow
from master.store.writer import Row, Writer
from tests.store_fixtures import worker_row
from tests.support import eventually


def command(command_id: str) -> Row:
    return {
        "id": command_id,
        "command": "ls",
        "by": None,
        "origin": "page",
        "created": 1.0,
        "timeout_s": 60.0,
        "ended": None,
    }


def target(command_id: str, state: str = "sent", exit_code: int | None = None) -> Row:
    return {
        "command_id": command_id,
        "worker_id": "w1",
        "position": 0,
        "state": state,
        "exit_code": exit_code,
        "started": None,
        "duration_s": None,
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "truncated": False,
        "problem": None,
    }


def stored(store: Store, query: str) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_rows_are_written_and_replaced_by_their_key(store: Store, writer: Writer) -> None:
    writer.put(WorkerRow, worker_row("w1", "1"))
    writer.put(WorkerRow, worker_row("w2", "2"))
    assert writer.flush()
    number = writer.put(WorkerRow, worker_row("w1", "3"))
    assert writer.flush()
    assert writer.has_stored(number)
    assert stored(store, "SELECT id, metrics FROM workers ORDER BY id") == [("w1", "3"), ("w2", "2")]


def test_rows_put_together_are_written_in_one_transaction_each_key_once(store: Store, writer: Writer) -> None:
    transactions: list[Connection] = []
    event.listen(store.engine, "commit", transactions.append)
    for number in range(2_000):
        writer.put(WorkerRow, worker_row(f"w{number % 500}", str(number)))
    assert writer.flush()
    assert len(transactions) <= 10
    assert stored(store, "SELECT count(*), min(CAST(metrics AS INTEGER)) FROM workers") == [(500, 1_500)]


def test_a_target_may_be_put_before_its_command(store: Store, writer: Writer) -> None:
    writer.put(TargetRow, target("c-1"))
    writer.put(CommandRow, command("c-1"))
    assert writer.flush()
    assert stored(store, "SELECT command_id, state FROM command_targets") == [("c-1", "sent")]


def test_a_row_that_cannot_be_kept_does_not_hold_up_the_others(
    store: Store, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        writer.put(WorkerRow, worker_row("w1"))
        writer.put(WorkerRow, worker_row("w2", "\ud800"))
        writer.put(CommandRow, command("c-1"))
        writer.put(TargetRow, target("c-1", exit_code=2**70))
        writer.put(TargetRow, target("c-unknown"))
        writer.put(WorkerRow, worker_row("w3"))
        assert writer.flush()
    assert stored(store, "SELECT id FROM workers ORDER BY id") == [("w1",), ("w3",)]
    assert stored(store, "SELECT id FROM commands") == [("c-1",)]
    assert writer.dropped_rows == 3
    assert writer.problem is None
    assert all("could not be kept" in record.message for record in caplog.records)


@pytest.mark.sqlite
def test_a_full_disk_is_told_once_and_what_waits_is_written_when_there_is_space(
    store: Store, data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    full = True

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        if full:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(store.engine, "connect", limit)
    store.engine.dispose()
    writer = Writer(store, retry_s=0.02)
    writer.start()
    try:
        with caplog.at_level(logging.INFO):
            for number in range(50):
                writer.put(WorkerRow, worker_row(f"w{number}", "x" * 10_000))
            eventually(lambda: writer.problem)
            assert "the disk is full: free some space" in str(writer.problem)
            time.sleep(0.2)  # several attempts
            assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
            assert stored(store, "SELECT count(*) FROM workers") == [(0,)]
            full = False
            store.engine.dispose()
            assert writer.flush()
        assert writer.problem is None
        assert stored(store, "SELECT count(*) FROM workers") == [(50,)]
        assert stored(store, "PRAGMA integrity_check") == [("ok",)]
    finally:
        writer.stop()


@pytest.mark.sqlite
def test_a_locked_database_keeps_nobody_waiting_but_the_writer(store: Store, data: DataFolder) -> None:
    def impatient(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    event.listen(store.engine, "connect", impatient)
    store.engine.dispose()
    other = sqlite3.connect(data.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = Writer(store, retry_s=0.02)
    writer.start()
    try:
        writer.put(WorkerRow, worker_row("w1"))
        eventually(lambda: writer.problem)
        assert "is locked by another program" in str(writer.problem)
        assert not writer.flush(0.01)
        assert stored(store, "SELECT count(*) FROM workers") == [(0,)]
        other.execute("COMMIT")
        assert writer.flush()
        assert stored(store, "SELECT id FROM workers") == [("w1",)]
    finally:
        writer.stop()
        other.close()


def test_while_nothing_can_be_written_the_rows_that_wait_are_bounded(store: Store, data: DataFolder) -> None:
    writer = Writer(store, max_pending_rows=10)  # not started: nothing is written
    for number in range(15):
        writer.put(WorkerRow, worker_row(f"w{number}"))
    writer.put(WorkerRow, worker_row("w3", "newer"))
    assert writer.dropped_rows == 5
    writer.start()
    assert writer.flush()
    writer.stop()
    assert stored(store, "SELECT count(*) FROM workers") == [(10,)]
    assert stored(store, "SELECT metrics FROM workers WHERE id = 'w3'") == [("newer",)]


def test_stopping_writes_what_is_pending(store: Store) -> None:
    writer = Writer(store)
    writer.start()
    writer.put(WorkerRow, worker_row("w1"))
    writer.stop()
    writer.stop()
    assert stored(store, "SELECT id FROM workers") == [("w1",)]


def test_a_job_is_called_until_it_has_no_more_to_do(store: Store, writer: Writer) -> None:
    left = [3]

    def job(connection: Connection) -> bool:
        left[0] -= 1
        connection.exec_driver_sql(f"INSERT INTO workers (id) VALUES ('w{left[0]}')")
        return left[0] > 0

    writer.run(job)
    assert writer.flush()
    assert stored(store, "SELECT count(*) FROM workers") == [(3,)]


def test_a_job_that_fails_is_told_and_dropped(store: Store, writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    def job(connection: Connection) -> bool:
        raise RuntimeError("a mistake")

    with caplog.at_level(logging.ERROR):
        writer.run(job)
        writer.put(WorkerRow, worker_row("w1"))
        assert writer.flush()
    assert "a mistake" in caplog.text
    assert stored(store, "SELECT id FROM workers") == [("w1",)]


KILLED = """
import sys
from pathlib import Path
from gpumon.datafolder import DataFolder
from master.store.engine import Store
from master.store.models import WorkerRow
from master.store.writer import Writer

store = Store(DataFolder(Path(sys.argv[1])))
store.start()
writer = Writer(store)
writer.start()
for round in range(10_000):
    for number in range(50):
        row = {"id": f"w{number}", "status": None, "last_seen": None, "info": None}
        writer.put(WorkerRow, {**row, "metrics": str(round) + " " * 5000})
    writer.flush()
    print(round, flush=True)
"""


@pytest.mark.sqlite
def test_a_process_killed_while_it_writes_leaves_everything_it_had_stored(data: DataFolder) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(data.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait(10)
    process.stdout.close()
    store = Store(data)
    store.start()
    try:
        assert stored(store, "PRAGMA integrity_check") == [("ok",)]
        assert stored(store, "PRAGMA foreign_key_check") == []
        ((count, oldest),) = stored(store, "SELECT count(*), min(CAST(metrics AS INTEGER)) FROM workers")
        assert count == 50
        assert isinstance(oldest, int)
        assert oldest >= int(said[-1])
    finally:
        store.stop()
