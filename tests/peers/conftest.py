"""Fixtures of the tests with several masters: what they share is there once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.prepare import prepare
from tests.master.telling.services import HttpService, http_service
from tests.peers.support import ADMIN, PASSWORD, MasterProcess, RedisServer, a_master, redis_server
from tests.postgres_server import PostgresServer
from tests.support import eventually, mosquitto


@dataclass(frozen=True)
class Ground:
    """What all masters have in common: `environment` names the broker, the database and Redis."""

    folder: Path
    mqtt_port: int
    redis: RedisServer
    postgres: PostgresServer
    database: str
    environment: dict[str, str]
    hook: HttpService

    def sql(self, statement: str) -> list[Any]:
        return self.postgres.sql(statement, self.database)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Ground]:
    """A broker, a database with an admin's account, and a Redis."""
    folder = tmp_path_factory.mktemp("peers")
    name = postgres.new_database()
    data = DataFolder(folder / "accounts", postgres.address(name))
    prepare(data)
    with open_accounts(data) as accounts:
        accounts.first_login()
        accounts.add_user(ADMIN, Role.ADMIN, PASSWORD)
    with mosquitto(folder) as port, redis_server(folder) as redis, http_service() as hook:
        (folder / "gpumon.toml").write_text(
            f"[alerts.channels.hook]\nwebhook = 'http://{hook.address}/'\ngather_s = 0\nseverities = ['page']\n"
        )
        environment = {
            "GPUMON_CONFIG": str(folder / "gpumon.toml"),
            "GPUMON_BROKER_URL": f"mqtt://127.0.0.1:{port}",
            "GPUMON_DATABASE_URL": postgres.url(name),
            "GPUMON_SOCKETIO_QUEUE": redis.url,
        }
        yield Ground(folder, port, redis, postgres, name, environment, hook)


@pytest.fixture(scope="module")
def masters(ground: Ground) -> Iterator[tuple[MasterProcess, MasterProcess]]:
    """Two masters that share the fleet; a test that ends one starts it again."""
    names = "one", "two"
    with (
        a_master(ground.folder, names[0], ground.environment) as one,
        a_master(ground.folder, names[1], ground.environment) as two,
    ):
        eventually(lambda: one.shares_with(1) and two.shares_with(1), 60)
        yield one, two
