"""Backups of a master whose database is PostgreSQL's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.settings import DatabaseSettings
from master.backup.archive import BackupError
from master.backup.restoring import check, restore
from master.backup.taking import take
from tests.master.backup.filled import BY, files_of, filled, rows_of
from tests.postgres_server import GUARDED, PASSWORD, PostgresServer, postgres_programs


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{postgres_programs()}:/usr/bin:/bin")


def folder_with(tmp_path: Path, name: str, postgres: PostgresServer, *, empty: bool = False) -> DataFolder:
    root = tmp_path / name
    root.mkdir()
    return DataFolder(root, postgres.address(postgres.new_database(empty=empty)))


def test_folder_and_database_come_back_as_they_were(tmp_path: Path, postgres: PostgresServer) -> None:
    data = filled(folder_with(tmp_path, "data", postgres))
    manifest = take(data, tmp_path / "b.tar.gz", BY)
    assert manifest.database == "postgresql"
    other = folder_with(tmp_path, "other", postgres, empty=True)
    restore(tmp_path / "b.tar.gz", other, BY)
    assert files_of(other.root) == files_of(data.root)
    assert rows_of(other) == rows_of(data)
    assert not list(other.root.glob("*.pgdump"))


def test_a_database_that_is_not_empty_is_left_alone(tmp_path: Path, postgres: PostgresServer) -> None:
    data = filled(folder_with(tmp_path, "data", postgres))
    take(data, tmp_path / "b.tar.gz", BY)
    other = filled(folder_with(tmp_path, "other", postgres), admin="mallory")
    before = files_of(other.root), rows_of(other)
    with pytest.raises(BackupError, match=r"is not empty: make another .* database\.url"):
        restore(tmp_path / "b.tar.gz", other, BY)
    assert (files_of(other.root), rows_of(other)) == before


def test_each_kind_of_database_is_restored_into_its_own_kind(tmp_path: Path, postgres: PostgresServer) -> None:
    on_server = filled(folder_with(tmp_path, "server", postgres))
    on_file = filled(DataFolder(tmp_path / "file"))
    take(on_server, tmp_path / "server.tar.gz", BY)
    take(on_file, tmp_path / "file.tar.gz", BY)
    with pytest.raises(BackupError, match=r"name an empty one in database\.url"):
        restore(tmp_path / "server.tar.gz", on_file, BY)
    with pytest.raises(BackupError, match=r"then gpumon move-database"):
        restore(tmp_path / "file.tar.gz", folder_with(tmp_path, "other", postgres, empty=True), BY)


def test_the_password_is_given_to_postgresqls_programs_and_shown_nowhere(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    name = postgres.new_database(empty=True, owner=GUARDED)
    (tmp_path / "data").mkdir()
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    settings = DatabaseSettings(url=postgres.url(name, GUARDED), password_file=str(tmp_path / "password"))
    address = database_address(settings)
    data = filled(DataFolder(tmp_path / "data", address))
    take(data, tmp_path / "b.tar.gz", BY)
    assert check(tmp_path / "b.tar.gz").database == "postgresql"
    (tmp_path / "password").write_text("another")
    with pytest.raises(BackupError) as refused:
        take(data, tmp_path / "c.tar.gz", BY)
    assert "another" not in str(refused.value)


def test_without_postgresqls_programs_it_is_said_what_to_install(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = filled(folder_with(tmp_path, "data", postgres))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match=r"pg_dump is not installed: .* \(postgresql-client\)"):
        take(data, tmp_path / "b.tar.gz", BY)
