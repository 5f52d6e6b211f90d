"""A real PostgreSQL for tests: with its own folder and port, on this machine alone, and new databases in no time."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gpumon.database_address import DatabaseAddress, database_address
from gpumon.datafolder import DataFolder
from gpumon.settings import DatabaseSettings
from master.store.engine import database_of
from master.store.schema import migrate
from tests.support import eventually, free_port

# May log in without a password; `guarded` has one.
USER = "gpumon"
GUARDED, PASSWORD = "guarded", "pw of guarded"
_TEMPLATE = "newest"
_HBA = f"local all all trust\nhost all {GUARDED} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"


def postgres_programs() -> Path:
    """Return the folder of initdb, postgres and the rest, or skip the test and say which package brings them."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres", "pg_dump", "psql")):
            return folder
    pytest.skip("postgres is not installed: apt-get install postgresql")


class PostgresServer:
    """A server that can be killed and started again."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self.folder = folder / "cluster"
        self._programs = programs
        self._process: subprocess.Popen[Any] | None = None
        self._names = itertools.count(1)

    def make(self) -> None:
        """Make the cluster."""
        auth = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self.run("initdb", "--pgdata", str(self.folder), *auth)
        (self.folder / "pg_hba.conf").write_text(_HBA)
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses='127.0.0.1'\nport={self.port}\nunix_socket_directories='{self.folder}'\n"
                f"fsync=off\nfull_page_writes=off\nlog_min_messages=fatal\n"
            )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_whom())
        eventually(self._answers, 30)

    def kill(self) -> None:
        """End it as a power cut would: every process of it."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

    def stop(self) -> None:
        """End it, and its connections with it; safe to call twice."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once; what it recovers at its start is complete
            self._process.wait(20)

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str, user: str = USER) -> str:
        """Return what goes into `database.url`."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, empty: bool = False, owner: str = USER) -> str:
        """Make a database at the newest schema, or an empty one, and return its name."""
        name = f"test{next(self._names)}"
        template = "template0" if empty else _TEMPLATE
        self.sql(f"CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} STRATEGY file_copy")
        return name

    def address(self, database: str) -> DatabaseAddress:
        """Return the address of a database, as the settings give it."""
        found = database_address(DatabaseSettings(url=self.url(database)))
        assert found is not None
        return found

    def make_template(self) -> None:
        """Make the users, and the database that new ones are copied from."""
        self.sql(f"CREATE ROLE {USER} LOGIN")
        self.sql(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
        self.sql(f"CREATE DATABASE {_TEMPLATE} OWNER {USER} TEMPLATE template0")
        migrate(database_of(DataFolder(Path("unused"), self.address(_TEMPLATE))))

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as its user, and return what it wrote."""
        command = [str(self._programs / program), *arguments]
        finished = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", **_as_whom()
        )
        assert finished.returncode == 0, finished.stdout
        return str(finished.stdout)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError):
            self.sql("SELECT 1")
            return True
        return False


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server with its users and the database that others are copied from."""
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="gpumon-postgres-"))
    if os.geteuid() == 0:
        os.chown(folder, _unprivileged().pw_uid, _unprivileged().pw_gid)
    server = PostgresServer(folder, programs)
    try:
        server.make()
        server.start()
        server.make_template()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_whom() -> dict[str, Any]:
    """Return how to start a process as somebody else than root, as whom PostgreSQL does not run."""
    if os.geteuid() != 0:
        return {}
    user = _unprivileged()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("there is no user as whom PostgreSQL could run: adduser --system postgres")
