"""Making and migrating a database on a server, and what is said of one that cannot be used."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, SettingError, StartError
from gpumon.settings import DatabaseSettings
from master.accounts import open_accounts
from master.prepare import prepare
from master.store.engine import Store, database_of
from master.store.models import Base
from master.store.schema import NEWEST
from master.store.upgrade import configuration, upgrade
from tests.postgres_server import GUARDED, PASSWORD, PostgresServer
from tests.support import free_port

REVISIONS = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]


def folder_at(tmp_path: Path, url: str, password_file: Path | None = None) -> DataFolder:
    settings = DatabaseSettings(url=url, password_file=None if password_file is None else str(password_file))
    return DataFolder(tmp_path / "data", database_address(settings))


def revision(server: PostgresServer, database: str) -> object:
    return server.sql("SELECT version_num FROM alembic_version", database)[0][0]


def test_migrations_from_nothing_make_what_the_models_say(tmp_path: Path, postgres: PostgresServer) -> None:
    data = DataFolder(tmp_path / "data", postgres.address(postgres.new_database(empty=True)))
    prepare(data)
    store = Store(data)
    store.start()
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    store.stop()
    assert not data.database.exists()


@pytest.mark.parametrize("older", REVISIONS[1:])
def test_each_older_schema_is_brought_up_to_date_with_what_it_holds(
    tmp_path: Path, postgres: PostgresServer, older: str
) -> None:
    name = postgres.new_database(empty=True)
    data = DataFolder(tmp_path / "data", postgres.address(name))
    database = database_of(data)
    engine = database.open()
    with database.migrating(engine) as connection:
        upgrade(connection, database.name, None, older)
    engine.dispose()
    postgres.sql("INSERT INTO workers (id) VALUES ('w1')", name)
    assert revision(postgres, name) == older
    prepare(data)
    assert revision(postgres, name) == NEWEST
    assert postgres.sql("SELECT id FROM workers", name) == [("w1",)]


def test_masters_on_several_folders_may_prepare_one_database_at_once(tmp_path: Path, postgres: PostgresServer) -> None:
    name = postgres.new_database(empty=True)
    folders = [DataFolder(tmp_path / str(number), postgres.address(name)) for number in range(3)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=prepare, args=(folder,)) for folder in folders]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert revision(postgres, name) == NEWEST


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, postgres: PostgresServer) -> None:
    name = postgres.new_database(empty=True)
    data = DataFolder(tmp_path / "data", postgres.address(name))
    postgres.sql("CREATE TABLE audit (x int)", name)  # in the way of the second
    with pytest.raises(StartError, match="already exists"):
        prepare(data)
    assert postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name) == [("audit",)]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(data: DataFolder, postgres: PostgresServer) -> None:
    assert data.server is not None
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", data.server.name)
    with pytest.raises(StartError, match=r"newer gpumon \(schema 9999\): install that version"):
        prepare(data)
    assert revision(postgres, data.server.name) == "9999"


def said_of(data: DataFolder) -> str:
    with pytest.raises(GpumonError) as found:
        prepare(data)
    text = str(found.value)
    assert "\n" not in text
    assert PASSWORD not in text
    return text


def test_a_server_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://gpumon@127.0.0.1:{free_port()}/gpumon"
    assert "does not answer now" in said_of(folder_at(tmp_path, url))


def test_a_database_that_is_not_there_is_said_with_the_line_that_makes_it(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    said = said_of(folder_at(tmp_path, postgres.url("nowhere")))
    assert "is not there: make it on the server with createdb -O gpumon -T template0 -E UTF8 nowhere" in said


def test_a_user_who_may_not_make_tables_is_said_what_to_do(tmp_path: Path, postgres: PostgresServer) -> None:
    name = postgres.new_database(empty=True, owner="postgres")
    said = said_of(folder_at(tmp_path, postgres.url(name)))
    assert f"ALTER DATABASE {name} OWNER TO gpumon" in said


def test_a_database_that_does_not_keep_every_character_is_refused(tmp_path: Path, postgres: PostgresServer) -> None:
    postgres.sql("CREATE DATABASE latin OWNER gpumon TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    assert "createdb -T template0 -E UTF8" in said_of(folder_at(tmp_path, postgres.url("latin")))


def test_a_password_comes_from_its_file_and_is_read_anew_at_each_connection(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(postgres.new_database(empty=True, owner=GUARDED), GUARDED)
    assert f"wants a password of {GUARDED}" in said_of(folder_at(tmp_path, url))
    file = tmp_path / "password"
    data = folder_at(tmp_path, url, file)
    assert f"{file} cannot be read" in said_of(data)
    file.write_text("wrong")
    file.chmod(0o600)
    assert f"refuses {GUARDED}'s password" in said_of(data)
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o644)
    assert f"run chmod 600 {file}" in said_of(data)
    file.chmod(0o600)
    prepare(data)


def test_a_password_is_found_where_libpq_looks(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.new_database(empty=True, owner=GUARDED)
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{postgres.port}:{name}:{GUARDED}:{PASSWORD}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    prepare(folder_at(tmp_path, postgres.url(name, GUARDED)))


def test_a_password_in_the_settings_files_url_is_used_and_shown_nowhere(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(postgres.new_database(empty=True, owner=GUARDED), f"{GUARDED}:{PASSWORD.replace(' ', '%20')}")
    data = folder_at(tmp_path, url)
    prepare(data)
    assert PASSWORD not in repr(data)
    assert "%20" not in repr(data)
    store = Store(data)
    with store.read() as connection:
        assert PASSWORD not in repr(connection.engine.url)
    store.stop()


def test_without_psycopg_it_is_said_what_to_install(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingError, match=r"pip install 'gpumon\[postgres\]'"):
        prepare(folder_at(tmp_path, postgres.url("any")))


def test_a_parameter_that_libpq_does_not_know_is_said(tmp_path: Path, postgres: PostgresServer) -> None:
    said = said_of(folder_at(tmp_path, postgres.url("any") + "?sslmod=require"))
    assert "sslmod" in said
    assert "check database.url" in said


def test_before_a_master_has_made_the_tables_nobody_but_it_is_known(tmp_path: Path, postgres: PostgresServer) -> None:
    data = DataFolder(tmp_path / "data", postgres.address(postgres.new_database(empty=True)))
    with pytest.raises(StartError, match="start gpumon master on it first"):
        Store(data).start()
    with open_accounts(data) as accounts:
        token = accounts.add_worker("w1")
        assert accounts.authenticate("w1", token)
