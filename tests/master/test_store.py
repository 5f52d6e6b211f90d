"""Making, opening and migrating the database."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError

from gpumon.datafolder import DataFolder
from gpumon.errors import StartError
from master.prepare import instance_of, prepare
from master.store.engine import Store
from master.store.models import Base
from master.store.schema import NEWEST
from master.store.upgrade import configuration


def test_the_newest_schema_is_that_of_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == NEWEST


def test_migrations_from_empty_make_what_the_models_say(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("auto_vacuum", 2),  # incremental
        ("journal_mode", "wal"),
        ("synchronous", 1),  # normal
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
    ],
)
def test_connections_have_their_pragmas(store: Store, pragma: str, value: object) -> None:
    with store.read() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


@pytest.mark.sqlite
def test_the_database_is_its_owners_alone(data: DataFolder) -> None:
    assert stat.S_IMODE(data.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.root.stat().st_mode) == 0o700


@pytest.mark.sqlite
def test_preparing_again_changes_nothing(data: DataFolder) -> None:
    instance = instance_of(data)
    with sqlite3.connect(data.database) as connection:
        connection.execute("INSERT INTO workers (id) VALUES ('w1')")
    connection.close()
    prepare(data)
    assert instance_of(data) == instance
    with sqlite3.connect(data.database) as connection:
        assert connection.execute("SELECT id FROM workers").fetchall() == [("w1",)]
    connection.close()


def test_several_processes_may_prepare_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=prepare, args=(DataFolder(tmp_path / "new" / "data"),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    store = Store(DataFolder(tmp_path / "new" / "data"))
    store.start()
    store.stop()


@pytest.mark.sqlite
def test_a_database_of_a_newer_version_is_refused_and_left_alone(data: DataFolder) -> None:
    with sqlite3.connect(data.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StartError, match=r"newer gpumon \(schema 9999\): install that version"):
        prepare(data)
    with sqlite3.connect(data.database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.database.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StartError, match=r"is damaged .*put a backup in its place"):
        prepare(data)
    assert data.database.read_bytes() == b"this is no database" * 1000


@pytest.mark.sqlite
def test_a_database_with_damaged_pages_is_refused_and_left_alone(data: DataFolder) -> None:
    content = bytearray(data.database.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    data.database.write_bytes(bytes(content))
    with pytest.raises(StartError, match="is damaged"):
        prepare(data)
    assert data.database.read_bytes() == bytes(content)


def test_a_data_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartError, match=r"cannot be written .*--data"):
        prepare(DataFolder(tmp_path / "file" / "data"))


def test_a_database_file_that_cannot_be_opened_is_said_in_one_line(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.database.mkdir()
    with pytest.raises(StartError, match=r"cannot be opened .*owner and mode"):
        prepare(data)


def test_a_store_that_was_never_prepared_says_so(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="there is no database at"):
        Store(DataFolder(tmp_path)).start()


def test_a_target_needs_its_command_and_goes_with_it(store: Store) -> None:
    insert_target = (
        "INSERT INTO command_targets (command_id, worker_id, position, state, stdout_bytes, stderr_bytes, truncated) "
        "VALUES ('c-1', 'w1', 0, 'sent', 0, 0, false)"
    )
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.exec_driver_sql(insert_target)
    with store.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO commands (id, command, origin, created, timeout_s) VALUES ('c-1', 'ls', 'page', 1, 60)"
        )
        connection.exec_driver_sql(insert_target)
        connection.exec_driver_sql("DELETE FROM commands")
        assert connection.exec_driver_sql("SELECT count(*) FROM command_targets").scalar() == 0
