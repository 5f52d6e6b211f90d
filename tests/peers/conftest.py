"""Fixtures of the tests with several masters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.prepare import prepare
from tests.peers.support import ADMIN, PASSWORD, RedisServer, redis_server
from tests.postgres_server import PostgresServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def shared(tmp_path: Path, mosquitto_port: int, postgres: PostgresServer, redis: RedisServer) -> dict[str, str]:
    """The environment that all masters have in common; there is an admin."""
    name = postgres.new_database()
    prepare(folder := DataFolder(tmp_path / "accounts", postgres.address(name)))
    with open_accounts(folder) as accounts:
        accounts.first_login()
        accounts.add_user(ADMIN, Role.ADMIN, PASSWORD)
    return {
        "GPUMON_BROKER_URL": f"mqtt://127.0.0.1:{mosquitto_port}",
        "GPUMON_DATABASE_URL": postgres.url(name),
        "GPUMON_SOCKETIO_QUEUE": redis.url,
    }
