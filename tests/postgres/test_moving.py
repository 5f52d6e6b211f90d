"""Moving a fleet's database from SQLite to PostgreSQL, and backups that are put back."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from gpumon.datafolder import DataFolder
from gpumon.locks import FolderLock
from gpumon.roles import Role
from master.accounts import Accounts, open_accounts
from master.audit import AuditTrail
from master.audit_reader import AuditFilter, AuditReader
from master.prepare import prepare
from master.store.engine import Store
from master.store.models import Base
from master.store.moving import MoveError, move
from tests.master import history_support
from tests.master.history_support import HOUR_S, card
from tests.postgres_server import PostgresServer


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        found = {table.name: connection.execute(select(table)).all() for table in Base.metadata.sorted_tables}
    return {name: sorted((tuple(row) for row in of_table), key=repr) for name, of_table in found.items()}


def used(data: DataFolder) -> Store:
    """A database with something in it: accounts, audit, events with every kind of text, history."""
    prepare(data)
    store = Store(data)
    accounts = Accounts(store)
    accounts.add_user("eve", Role.ADMIN, "correct horse")
    accounts.add_worker("w1")
    accounts.tokens.make("eve", "for scripts: \u00e4\u2713")
    accounts.close()
    with history_support.running(store) as run:
        for _ in range(3):
            run.tell(card(123.456))
            run.to(run.now + HOUR_S)
        run.settle()
    return store


def test_everything_is_moved_and_goes_on_where_it_was(tmp_path: Path, postgres: PostgresServer) -> None:
    old = used(DataFolder(tmp_path / "data"))
    before = rows(old)
    old.stop()
    data = DataFolder(tmp_path / "data", postgres.address(postgres.new_database(empty=True)))
    told: dict[str, int] = {}
    move(data, told.__setitem__)
    new = Store(data)
    assert rows(new) == before
    assert told == {name: len(found) for name, found in before.items()}
    assert before["history_blocks"]
    with open_accounts(data) as accounts:
        assert accounts.authenticate("eve", "correct horse")
    AuditTrail(new).add("login", who="eve", origin="page")
    audit = list(AuditReader(new).all(AuditFilter()))
    assert len({entry.seq for entry in audit}) == len(before["audit"]) + 1
    assert audit[-1].action == "login"
    with pytest.raises(MoveError, match=r"is not empty, it holds .*"):
        move(data, told.__setitem__)
    new.stop()


def test_nothing_is_moved_while_a_master_runs_or_without_a_place_to(tmp_path: Path, postgres: PostgresServer) -> None:
    data = DataFolder(tmp_path / "data", postgres.address(postgres.new_database()))
    (tmp_path / "data").mkdir()
    with pytest.raises(MoveError, match="there is no database at"):
        move(data, lambda *_: None)
    plain = DataFolder(tmp_path / "data")
    prepare(plain)
    with pytest.raises(MoveError, match=r"give database\.url"):
        move(plain, lambda *_: None)
    lock = FolderLock(data.master_lock)
    assert lock.take(wait=False)
    with pytest.raises(MoveError, match="stop it first"):
        move(data, lambda *_: None)
    lock.free()


def test_a_backup_of_postgresql_by_pg_dump_is_put_back_whole(tmp_path: Path, postgres: PostgresServer) -> None:
    name, other = postgres.new_database(empty=True), postgres.new_database(empty=True)
    store = used(DataFolder(tmp_path / "data", postgres.address(name)))
    before = rows(store)
    dump = str(postgres.folder.parent / "gpumon.dump")
    postgres.run("pg_dump", "--format=custom", f"--file={dump}", postgres.url(name))
    postgres.run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={postgres.url(other)}", dump)
    store.stop()
    again = DataFolder(tmp_path / "data", postgres.address(other))
    prepare(again)
    store = Store(again)
    assert rows(store) == before
    AuditTrail(store).add("login", who="eve", origin="page")
    store.stop()


def test_a_backup_of_sqlite_taken_while_it_is_used_is_put_back_whole(tmp_path: Path) -> None:
    store = used(DataFolder(tmp_path / "data"))
    before = rows(store)
    # What `sqlite3 gpumon.db ".backup FILE"` does.
    with sqlite3.connect(store.data.database) as source, sqlite3.connect(tmp_path / "backup.db") as backup:
        source.backup(backup)
    source.close()
    backup.close()
    store.stop()
    (tmp_path / "other").mkdir()
    again = DataFolder(tmp_path / "other")
    subprocess.run(["cp", str(tmp_path / "backup.db"), str(again.database)], check=True)
    prepare(again)
    store = Store(again)
    assert rows(store) == before
    store.stop()
