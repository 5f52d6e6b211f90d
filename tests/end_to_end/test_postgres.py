"""`gpumon up` on PostgreSQL: everything that opens the database opens that one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import requests

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import environment_for, gpumon_up
from tests.postgres_server import GUARDED, PASSWORD, PostgresServer, postgres_server
from tests.support import eventually, free_port, stopping


def settings_for(server: PostgresServer, name: str, folder: Path) -> dict[str, str]:
    """The environment that names the database, its password in a file."""
    file = folder / "database.password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return {"GPUMON_DATABASE_URL": server.url(name, GUARDED), "GPUMON_DATABASE_PASSWORD_FILE": str(file)}


def test_a_worker_joins_and_runs_a_command_where_the_database_is_on_a_server_that_starts_again(tmp_path: Path) -> None:
    with postgres_server() as server:
        name = server.new_database(empty=True, owner=GUARDED)
        with gpumon_up(tmp_path, more=settings_for(server, name, tmp_path)) as running:
            page = PageClient(running.page, "admin", running.admin_password)
            line = running.gpumon("join-key").stdout.strip()
            agent = gpumon_command(
                *("agent", "--join", "-", "--worker-id", "w1", "--source", "simulated", "--interval", "1"),
                *("--token-file", str(tmp_path / "w1.token"), "--data", str(tmp_path / "agent")),
            )
            with running.log.open("ab") as log:
                process = subprocess.Popen(
                    agent, env=running.environment, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
                )
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.close()
            with stopping(process):
                eventually(lambda: page.state("w1") == "online", 30)
                server.kill()
                health = f"{running.page}/healthz"
                eventually(lambda: requests.get(health, timeout=10).json()["broker"] == "connected")
                server.start()
                sent = eventually(lambda: _sent(page), 30)
                assert sent is not None
                eventually(lambda: page.command(sent)["targets"][0]["state"] == "finished", 30)
                assert running.gpumon("user", "add", "eve", "--generate").returncode == 0
                assert running.gpumon("run", "-w", "w1", "--", "echo", "hello").stdout.count("hello") == 1
                audit = running.gpumon("audit").stdout
                for action in ("login", "worker.joined", "command.run", "user.added"):
                    assert action in audit
                assert running.gpumon("worker", "remove", "w1").returncode == 0
                eventually(lambda: page.state("w1") is None, 30)
            assert not running.data.database.exists()
            assert PASSWORD not in running.said()
            tables = "SELECT count(*) FROM audit"
            with psycopg.connect(server.url(name, "postgres")) as connection:
                row = connection.execute(tables).fetchone()
                assert row is not None
                assert row[0] >= 5


def _sent(page: PageClient) -> str | None:
    try:
        return page.run("w1", "echo sent")
    except (AssertionError, OSError, requests.RequestException):  # the database is not back yet
        return None


def test_a_database_that_cannot_be_used_ends_gpumon_with_one_line(tmp_path: Path) -> None:
    environment = environment_for(tmp_path / "data", free_port(), free_port())
    url = f"postgresql://gpumon@127.0.0.1:{free_port()}/gpumon"
    for flags, words, code in (
        (["--database-url", url], "does not answer now", 3),
        (["--database-url", "mysql://db/x"], "expected postgresql://USER@HOST[:PORT]/DATABASE", 2),
        (["--database-url", "postgresql://u:hunter2@db/x"], "name that in database.password_file", 2),
    ):
        ended = subprocess.run(
            gpumon_command("up", *flags), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == code, ended.stderr
        problems = [line for line in ended.stderr.splitlines() if line.startswith("gpumon: ")]
        assert len(problems) == 1
        assert words in problems[0]
        assert "hunter2" not in ended.stderr
        assert "Traceback" not in ended.stderr


def test_what_a_person_wrote_is_moved_by_one_line(tmp_path: Path, postgres: PostgresServer) -> None:
    environment = {**environment_for(tmp_path / "data", free_port(), free_port()), "PATH": os.environ["PATH"]}

    def gpumon(*words: str, **more: str) -> str:
        ended = subprocess.run(
            gpumon_command(*words),
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    gpumon("user", "add", "eve", "--role", "admin", "--generate")
    there = {"GPUMON_DATABASE_URL": postgres.url(postgres.new_database(empty=True))}
    assert "users\t1" in gpumon("move-database", **there)
    assert "eve\tadmin" in gpumon("user", "list", **there)
    assert "user.added" in gpumon("audit", **there)
