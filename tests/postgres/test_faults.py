"""What becomes of the master and its writer when the server fails: told in one line, tried again, nothing lost."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.account_directory import AccountDirectory
from master.accounts import Accounts
from master.audit import AuditTrail
from master.store.engine import Store, StoreError
from master.store.models import EventRow, WorkerRow
from master.store.writer import Row, Writer
from tests.master.support import Publisher, running_master, sample
from tests.postgres_server import PostgresServer
from tests.store_fixtures import worker_row
from tests.support import eventually


def event(number: int, text: str) -> Row:
    row = {"id": str(number), "worker_id": "w1", "received": 1.0, "time": 1.0, "kind": "xid", "gpu": None}
    return {**row, "value": 79, "text": text}


def kept(store: Store) -> set[str]:
    with store.read() as connection:
        return set(connection.execute(select(WorkerRow.id)).scalars())


@contextlib.contextmanager
def refusing(server: PostgresServer, store: Store, state: str) -> Iterator[None]:
    """Have the server answer every new worker's row with this SQLSTATE."""
    assert store.data.server is not None
    name = store.data.server.name
    server.sql(
        f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' "
        f"USING ERRCODE = '{state}'; END $$; "
        "CREATE TRIGGER fail BEFORE INSERT ON workers FOR EACH ROW EXECUTE FUNCTION fail()",
        name,
    )
    yield
    server.sql("DROP TRIGGER fail ON workers", name)


def test_a_server_killed_while_the_master_works_is_told_and_nothing_is_lost(
    own_server: PostgresServer, tmp_path: Path, mosquitto_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = DataFolder(tmp_path / "data", own_server.address(own_server.new_database()))
    publisher = Publisher(mosquitto_port)
    with running_master(data, mosquitto_port) as master, caplog.at_level(logging.INFO):
        token = master.accounts.add_worker("w1")
        directory = AccountDirectory(data)
        known = directory.authenticate("w1", token)
        assert known is not None
        assert directory.outdated([known]) == set()
        own_server.kill()
        for number in range(5):
            publisher.publish(f"gpumon/w{number}/metrics", sample(number))
        eventually(lambda: len(master.fleet.workers()) == 5)  # the live view goes on
        assert not master.flush(0.5)
        eventually(lambda: master.store_problem)
        assert "does not answer now" in str(master.store_problem)
        with pytest.raises(StoreError, match="see that its server runs"):
            master.accounts.users()
        assert directory.outdated([known]) == set()
        own_server.start()
        assert eventually(lambda: master.flush(1), 20)
        assert master.store_problem is None
        assert master.accounts.users() == []
        eventually(lambda: directory.authenticate("w1", token))
        master.accounts.rotate_worker("w1")
        eventually(lambda: directory.outdated([known]) == {known})
        directory.close()
    publisher.stop()
    store = Store(data)
    assert kept(store) == {f"w{number}" for number in range(5)}
    store.stop()


def test_rows_and_jobs_wait_for_a_server_that_starts_again(own_server: PostgresServer, tmp_path: Path) -> None:
    store = Store(DataFolder(tmp_path, own_server.address(own_server.new_database())))
    store.start()
    writer = Writer(store, retry_s=0.05)
    writer.start()

    def job(connection: Connection) -> bool:
        connection.exec_driver_sql("UPDATE workers SET status = 'seen'")
        return False

    writer.put(WorkerRow, worker_row("w0"))
    assert writer.flush()
    own_server.kill()
    for number in range(1000):
        writer.put(WorkerRow, worker_row(f"w{number}"))
    writer.run(job)
    eventually(lambda: writer.problem)
    own_server.start()
    assert writer.flush(20)
    writer.stop()
    assert len(kept(store)) == 1000
    with store.read() as connection:
        assert set(connection.execute(select(WorkerRow.status)).scalars()) == {"seen"}
    store.stop()
    assert writer.dropped_rows == 0


def test_a_full_disk_is_told_once_and_what_waits_is_written_when_there_is_space(
    postgres: PostgresServer, store: Store, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(postgres, store, "53100"), caplog.at_level(logging.INFO):
        for number in range(50):
            writer.put(WorkerRow, worker_row(f"w{number}"))
        eventually(lambda: writer.problem)
        assert "its server's disk is full (could not extend file): free some space there" in str(writer.problem)
        time.sleep(0.3)  # several attempts
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert writer.flush()
    assert writer.problem is None
    assert len(kept(store)) == 50


def test_a_server_that_is_read_only_is_told_with_what_to_do(
    postgres: PostgresServer, store: Store, writer: Writer
) -> None:
    assert store.data.server is not None
    postgres.sql(f"ALTER DATABASE {store.data.server.name} SET default_transaction_read_only = on")
    store.engine.dispose()
    writer.put(WorkerRow, worker_row("w1"))
    eventually(lambda: writer.problem)
    assert "is read-only" in str(writer.problem)
    assert "name the primary in database.url" in str(writer.problem)
    assert kept(store) == set()  # it can be read
    with pytest.raises(StoreError, match="read-only"):
        AuditTrail(store).add("login", who="eve", origin="page")
    postgres.sql(f"ALTER DATABASE {store.data.server.name} RESET default_transaction_read_only")
    assert writer.flush()  # over a new connection: of several hosts, another is the primary now
    assert kept(store) == {"w1"}


def test_a_server_without_a_connection_left_is_told_with_what_to_do(postgres: PostgresServer, data: DataFolder) -> None:
    assert data.server is not None
    postgres.sql(f"ALTER DATABASE {data.server.name} CONNECTION LIMIT 0")
    store = Store(data)
    with pytest.raises(StoreError, match=r"has no connection left .*lower database\.max_connections"), store.read():
        pass
    store.stop()


def test_a_database_locked_by_somebody_else_is_told_and_written_when_it_is_free(
    postgres: PostgresServer, store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.data.server is not None
    monkeypatch.setattr("master.store.engine_postgres.LOCK_TIMEOUT_MS", 50)
    store.engine.dispose()
    with psycopg.connect(postgres.url(store.data.server.name)) as other:
        other.execute("LOCK TABLE workers IN EXCLUSIVE MODE")
        writer.put(WorkerRow, worker_row("w1"))
        eventually(lambda: writer.problem)
        assert "is locked by another transaction" in str(writer.problem)
        assert kept(store) == set()
    assert writer.flush()
    assert kept(store) == {"w1"}


def test_a_table_that_may_not_be_written_keeps_the_rows_waiting(
    postgres: PostgresServer, store: Store, writer: Writer
) -> None:
    assert store.data.server is not None
    name = store.data.server.name
    postgres.sql("ALTER TABLE workers OWNER TO postgres", name)
    writer.put(WorkerRow, worker_row("w1"))
    eventually(lambda: writer.problem)
    assert "refuses gpumon what gpumon needs" in str(writer.problem)
    postgres.sql("ALTER TABLE workers OWNER TO gpumon", name)
    assert writer.flush()
    assert writer.dropped_rows == 0
    assert kept(store) == {"w1"}


def test_one_row_that_cannot_be_kept_takes_no_other_with_it(
    store: Store, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    # Too large for the index, even compressed: PostgreSQL keeps keys of up to 2,704 bytes.
    noise = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(5000))
    writer.put(WorkerRow, worker_row("w1"))
    writer.put(WorkerRow, worker_row(noise))
    writer.put(EventRow, {**event(1, "secret text"), "worker_id": None})
    writer.put(WorkerRow, worker_row("w2"))
    assert writer.flush()
    assert kept(store) == {"w1", "w2"}
    assert writer.dropped_rows == 2
    assert writer.problem is None
    assert "secret text" not in caplog.text  # the server's details would show the row


def test_text_with_a_nul_is_kept_without_it_and_can_be_looked_for(store: Store, writer: Writer) -> None:
    writer.put(EventRow, event(1, "a\0b"))
    writer.put(EventRow, event(2, "a\ud800b"))  # no character at all
    writer.put(EventRow, event(3, "plain"))
    assert writer.flush()
    with store.read() as connection:
        assert set(connection.execute(select(EventRow.text)).scalars()) == {"a\ufffdb", "plain"}
        assert connection.execute(select(EventRow.id).where(EventRow.text == "a\0b")).scalar() == "1"
        assert connection.execute(select(EventRow.id).where(EventRow.text.icontains("A\0", autoescape=True))).first()
    assert Accounts(store).authenticate("eve\0", "x") is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (seq, time, origin, action) VALUES (1, 0, 'cli', 'x') "
        "ON CONFLICT (seq) DO UPDATE SET who = 'nobody'",
    ],
)
def test_the_database_itself_refuses_to_change_or_delete_a_line_of_the_audit(store: Store, statement: str) -> None:
    AuditTrail(store).add("login", who="eve", origin="page")
    with pytest.raises(IntegrityError, match="append-only"), store.write() as connection:
        connection.exec_driver_sql(statement)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT seq, who FROM audit").all() == [(1, "eve")]


def test_writes_of_several_processes_are_one_at_a_time(store: Store, data: DataFolder) -> None:
    other = Accounts(Store(data))
    mine = Accounts(store)
    mine.add_user("eve", Role.ADMIN, "correct horse")
    with store.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert len(other.users()) == 1  # who reads does not wait
        assert data.server is not None
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        assert connection.exec_driver_sql(locks).scalar() == 1


def test_no_connection_stays_in_a_transaction(store: Store, data: DataFolder, postgres: PostgresServer) -> None:
    directory = AccountDirectory(data)
    assert directory.authenticate("w1", "x") is None
    assert directory.outdated([]) == set()
    with store.read() as connection:
        connection.execute(select(WorkerRow.id)).all()
    assert data.server is not None
    idle = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{data.server.name}' AND state LIKE 'idle in%'"
    assert postgres.sql(idle) == [(0,)]
    directory.close()


def test_jobs_that_wait_are_bounded_and_one_that_fails_by_itself_is_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("master.store.writer.MAX_PENDING_JOBS", 3)
    done: list[int] = []

    def job(number: int, connection: Connection) -> bool:
        if number == 0:
            connection.exec_driver_sql("SELECT no_such_column FROM workers")
        done.append(number)
        return False

    writer = Writer(store, retry_s=0.05)
    for number in range(5):
        writer.run(partial(job, number))
    assert "3 jobs wait for the database: newer ones are dropped" in caplog.text
    writer.start()
    assert writer.flush()
    writer.stop()
    assert done == [1, 2]
    assert "no_such_column" in caplog.text
