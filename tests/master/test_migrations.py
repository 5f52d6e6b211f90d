"""Databases of every schema, as fleets that really ran have left them, are brought up to date with all that is in them.

scripts/record-database has made what is in tests/master/fixtures.
"""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from msgspec.json import decode
from sqlalchemy import inspect, text

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from gpumon.settings import HistorySettings, Settings
from master.account_directory import AccountDirectory
from master.alerts.alert_store import AlertStore
from master.alerts.records import Silence
from master.audit_reader import AuditFilter, AuditReader
from master.history.query import Question
from master.history.readings import HOST, HOST_READINGS
from master.master import Master
from master.prepare import prepare
from master.store.command_store import CommandStore
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.models import Base
from master.store.schema import NEWEST
from master.store.upgrade import configuration
from master.store.writer import Writer
from master.usage.store import UsageStore
from tests.postgres_server import PostgresServer
from tests.support import free_port

FIXTURES = Path(__file__).parent / "fixtures"
SQLITE = sorted(path.name for path in FIXTURES.glob("????.sql.gz"))
POSTGRES = sorted(path.name for path in FIXTURES.glob("????.postgres.sql.gz"))
WORKERS = {"demo-gpu-01", "demo-gpu-02"}
PASSWORD = "correct horse"
# The clock of the recorded fleets, from their start to their end.
BEGAN, ENDED = 1772448840.0, 1772452800.0
HOUR_S = 3600
# However old it is by now, none of it is to be too old.
SETTINGS = Settings(history=HistorySettings(hour_days=3660))

Rows = dict[str, list[dict[str, Any]]]


def recorded(name: str, folder: Path, postgres: PostgresServer | None = None) -> DataFolder:
    """A data folder whose database is the recorded one."""
    sql = gzip.decompress((FIXTURES / name).read_bytes()).decode()
    folder.mkdir()
    if postgres is None:
        data = DataFolder(folder)
        connection = sqlite3.connect(data.database)
        connection.executescript(sql)
        connection.close()
        return data
    database = postgres.new_database(empty=True)
    script = postgres.folder.parent / f"{database}.sql"
    script.write_text(sql)
    script.chmod(0o644)
    postgres.run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={script}", postgres.url(database))
    return DataFolder(folder, postgres.address(database))


def rows_of(data: DataFolder) -> Rows:
    """All rows of all tables, by the tables' own names and columns."""
    store = Store(data)
    with store.read() as connection:
        tables = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
        found = {
            name: [dict(row) for row in connection.execute(text(f'SELECT * FROM "{name}"')).mappings()]
            for name in tables
        }
    store.stop()
    return found


def assert_all_is_there(before: Rows, after: Rows) -> None:
    for table, rows in before.items():
        columns = list(rows[0]) if rows else []
        kept = [{column: row[column] for column in columns} for row in after[table]]
        assert sorted(map(repr, kept)) == sorted(map(repr, rows)), table


def assert_is_read(data: DataFolder, revision: str) -> None:
    """Have the program's own readers read what it is about."""
    store = Store(data)
    store.start()
    writer = Writer(store)
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    directory = AccountDirectory(data)
    assert directory.authenticate("admin", PASSWORD)
    research = directory.authenticate("research", PASSWORD)
    assert research is not None
    assert research.role is Role.OPERATOR
    directory.close()
    workers, _ = FleetStore(store, writer).load()
    assert {worker.id for worker in workers} == WORKERS
    assert all(worker.metrics is not None and worker.metrics.gpus for worker in workers)
    commands = CommandStore(store, writer)
    assert {record.command for record in commands.recent(10)} >= {"echo from the fleet: \u00e4\u2713"}
    echoed = next(record for record in commands.recent(10) if record.command.startswith("echo from"))
    outputs = commands.outputs(echoed.id)
    assert {"".join(chunk.data for chunk in chunks) for chunks in outputs.values()} == {
        "from the fleet: \u00e4\u2713\n"
    }
    if revision >= "0002":
        actions = {entry.action for entry in AuditReader(store).all(AuditFilter())}
        assert {"login", "user.added", "token.made", "worker.removed", "join_key.made", "command.ended"} <= actions
    if revision >= "0004":
        assert {alert.rule for alert in AlertStore(store, writer).past(10, None)} | {
            kept.alert.rule for kept in AlertStore(store, writer).open_alerts()
        } >= {"warm"}
        silences = [decode(row["silence"], type=Silence) for row in rows_of(data)["silences"]]
        assert [silence.worker_id for silence in silences] == ["demo-gpu-02"]
    if revision >= "0005":
        usage = UsageStore(store, writer)
        assert usage.by_user(HOUR_S, int(BEGAN) // HOUR_S * HOUR_S, int(ENDED), ())
        assert {place.worker_id for place in usage.places().values()} == WORKERS
    store.stop()


def assert_a_master_starts_on_it(data: DataFolder, revision: str) -> None:
    master = Master(SETTINGS, data, BrokerAddress("127.0.0.1", free_port(), tls=False), None)
    master.start()
    try:
        assert {worker.id for worker in master.fleet.workers()} == WORKERS
        if revision >= "0003":
            question = Question("demo-gpu-01", HOST, tuple(HOST_READINGS[:1]), BEGAN, ENDED, 60)
            assert any(value is not None for value in master.history.ask(question).series[HOST_READINGS[0].name].mean)
        if revision >= "0004":
            off = [view.origin for view in master.alerts.rules() if view.rule is not None and not view.rule.enabled]
            assert off == ["page"]
    finally:
        master.stop()


def test_every_schema_has_its_recorded_database() -> None:
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    assert known == {name[:4] for name in SQLITE}, "run scripts/record-database"
    assert f"{NEWEST}.sql.gz" in SQLITE


@pytest.mark.parametrize("name", SQLITE)
def test_a_recorded_database_is_brought_up_to_date_and_read(tmp_path: Path, name: str) -> None:
    data = recorded(name, tmp_path / "data")
    before = rows_of(data)
    prepare(data)
    assert_all_is_there(before, rows_of(data))
    assert_is_read(data, name[:4])
    assert_a_master_starts_on_it(data, name[:4])


@pytest.mark.parametrize("name", POSTGRES)
def test_a_recorded_database_of_postgresql_is_brought_up_to_date_and_read(
    tmp_path: Path, name: str, postgres: PostgresServer
) -> None:
    data = recorded(name, tmp_path / "data", postgres)
    before = rows_of(data)
    prepare(data)
    assert_all_is_there(before, rows_of(data))
    assert_is_read(data, name[:4])
    assert_a_master_starts_on_it(data, name[:4])
