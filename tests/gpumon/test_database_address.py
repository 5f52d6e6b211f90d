"""Reading `database.url`: what is taken, what is refused, and that a password is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.database_address import DatabaseAddress, database_address
from gpumon.errors import SettingError
from gpumon.files import write_secret
from gpumon.settings import DatabaseSettings
from gpumon.settings_sources import load_settings


def address(url: str, password_file: str | None = None) -> DatabaseAddress:
    found = database_address(DatabaseSettings(url=url, password_file=password_file))
    assert found is not None
    return found


def test_without_it_the_database_is_the_data_folders_file() -> None:
    assert database_address(DatabaseSettings()) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://gpumon@db.lab/fleet", "fleet at db.lab"),
        ("postgres://gpumon@db.lab:5433/fleet?sslmode=verify-full", "fleet at db.lab:5433"),
        ("postgresql://gpumon@one:5432,two:5432/fleet?target_session_attrs=read-write", "fleet at one:5432,two:5432"),
        ("postgresql://gpumon@[::1]:5432/fleet", "fleet at [::1]:5432"),
        ("postgresql:///fleet", "fleet at this machine's PostgreSQL"),
        ("postgresql://gpumon@/fleet?host=/run/postgresql", "fleet at this machine's PostgreSQL"),
    ],
)
def test_what_psql_takes_is_taken(url: str, shown: str) -> None:
    assert str(address(url)) == shown
    assert address(url).password is None
    assert address(url).url == url.replace("postgres://", "postgresql://")


def test_a_password_in_it_is_kept_apart() -> None:
    found = address("postgresql://gpumon:p%40ss@db.lab/fleet")
    assert found.url == "postgresql://gpumon@db.lab/fleet"
    assert found.secret() == "p@ss"
    assert "p@ss" not in f"{found} {found!r}"
    assert "p%40ss" not in f"{found} {found!r}"


def test_a_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    found = address("postgresql://gpumon@db.lab/fleet", str(file))
    write_secret(file, "first")
    assert found.secret() == "first"
    write_secret(file, "second")
    assert found.secret() == "second"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gpumon:hunter2#x@db.lab/fleet",
        "postgresql://gpumon:hunter2/x@db.lab/fleet",
        "postgresql://gpumon:hunter2@@db.lab/fleet",
        "postgresql://gpumon@db.lab/fleet?password=hunter2",
        "postgresql://gpumon:hunter2@db.lab",
        "mysql://gpumon:hunter2@db.lab/fleet",
        "sqlite:///hunter2.db",
        "hunter2",
        "",
    ],
)
def test_what_cannot_be_used_is_said_without_showing_it(url: str) -> None:
    with pytest.raises(SettingError, match=r"database\.url") as found:
        address(url)
    assert "hunter2" not in str(found.value)
    assert "hunter2" not in repr(DatabaseSettings(url=url))


def test_a_password_file_goes_with_an_address() -> None:
    with pytest.raises(SettingError, match=r"without database\.url"):
        database_address(DatabaseSettings(password_file="x"))
    with pytest.raises(SettingError, match="take away the former"):
        address("postgresql://gpumon:hunter2@db.lab/fleet", "x")


@pytest.mark.parametrize("url", ["postgresql://gpumon:hunter2@db.lab/fleet", "postgresql://db/x?password=hunter2"])
def test_a_password_is_refused_where_other_programs_see_it(tmp_path: Path, url: str) -> None:
    for flags, environment in (({"database.url": url}, {}), ({}, {"GPUMON_DATABASE_URL": url})):
        with pytest.raises(SettingError, match=r"name that in database\.password_file") as found:
            load_settings({"data": str(tmp_path), **flags}, environment)
        assert "hunter2" not in str(found.value)


def test_a_password_in_the_settings_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "gpumon.toml").write_text('[database]\nurl = "postgresql://gpumon:hunter2@db.lab/fleet"\n')
    settings = load_settings({"data": str(tmp_path)}, {})
    found = database_address(settings.database)
    assert found is not None
    assert found.secret() == "hunter2"
    assert "hunter2" not in repr(settings)
