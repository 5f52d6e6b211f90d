"""Who may run beside whom: masters that share everything, or one alone; and one leads."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import msgspec
import pytest

from gpumon.cli.supervisor import gpumon_command
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError, StartError
from gpumon.queue_address import queue_address
from gpumon.settings import BrokerSettings, DatabaseSettings, Settings, SocketIoSettings
from master.peers.leader import Leader, Presence
from master.prepare import prepare
from master.store.engine import Store
from master.store.installation import installation_id, session_key
from tests.end_to_end.running import environment_for
from tests.postgres_server import PostgresServer
from tests.support import eventually, free_port


@pytest.fixture
def store(tmp_path: Path, postgres: PostgresServer) -> Store:
    """The store of a master on a new database."""
    data = DataFolder(tmp_path / "data", postgres.address(postgres.new_database()))
    prepare(data)
    return Store(data)


def settings(queue: str, *, broker: str | None = "mqtt://b", database: str | None = "postgresql://u@d/x") -> Settings:
    return Settings(
        broker=BrokerSettings(url=broker),
        database=DatabaseSettings(url=database),
        socketio=SocketIoSettings(queue=queue),
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (settings("redis://r", broker=None), "set broker.url too"),
        (settings("redis://r", database=None), "set database.url too"),
        (settings("redis://r", broker=None, database=None), "set broker.url and database.url too"),
        (settings("http://r"), "expected redis"),
        (settings("redis://r:70000"), "expected redis"),
        (settings("redis://u:secret@r"), "socketio.queue_password_file"),
    ],
)
def test_a_queue_that_cannot_be_used_is_refused_in_words(given: Settings, words: str) -> None:
    with pytest.raises(SettingError, match=words) as refused:
        queue_address(given)
    assert "secret" not in str(refused.value)


def test_a_queue_is_read_with_its_user_port_and_number(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    given = SocketIoSettings(queue="rediss://ann@r.lab:6380/3", queue_password_file=str(file))
    found = queue_address(msgspec.structs.replace(settings("redis://r"), socketio=given))
    assert found is not None
    assert (found.host, found.port, found.database, found.tls, found.user) == ("r.lab", 6380, 3, True, "ann")
    assert found.password == "secret"
    assert "secret" not in f"{found} {found!r}"
    assert queue_address(Settings()) is None


def test_a_master_with_a_queue_alone_ends_with_one_line(tmp_path: Path) -> None:
    environment = environment_for(tmp_path / "data", free_port(), free_port())
    for subcommand in ("master", "up"):
        command = gpumon_command(subcommand, "--socketio-queue", "redis://127.0.0.1")
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("gpumon: ")]
        assert "set broker.url and database.url too" in line


def test_a_master_that_is_alone_lets_no_other_beside_it_and_those_that_share_let_none_that_does_not(
    store: Store,
) -> None:
    alone, other = Presence(store, shares=False), Presence(store, shares=False)
    one, two = Presence(store, shares=True), Presence(store, shares=True)
    alone.check()
    for refused in (other, one):
        with pytest.raises(StartError, match=r"without socketio\.queue|setting"):
            refused.check()
    alone.close()
    one.check()
    two.check()
    with pytest.raises(StartError, match=r"without socketio\.queue|setting"):
        alone.check()
    one.close()
    two.close()
    store.stop()


def test_one_leads_and_another_does_as_soon_as_its_connection_has_ended(store: Store, postgres: PostgresServer) -> None:
    happened: list[str] = []
    another_leads = threading.Event()

    def leader(name: str) -> Leader:
        return Leader(
            store,
            gained=lambda: happened.append(f"{name} leads"),
            lost=lambda: happened.append(f"{name} follows"),
            another_leads=another_leads.is_set,
        )

    one, two = leader("one"), leader("two")
    one.start()
    eventually(lambda: one.leads)
    two.start()
    another_leads.set()
    mine = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted GROUP BY pid HAVING count(*) > 1"
    (pid,) = [row[0] for row in postgres.sql(mine)]
    postgres.sql(f"SELECT pg_terminate_backend({pid})")
    eventually(lambda: one.leads != two.leads and len(happened) >= 2)
    one.stop()
    eventually(lambda: two.leads)
    two.stop()
    assert happened[0] == "one leads"
    assert happened[-1] == "two follows"
    store.stop()


def test_all_masters_of_an_installation_sign_with_the_same_key_and_others_do_not(
    tmp_path: Path, store: Store, postgres: PostgresServer
) -> None:
    server = store.data.server
    assert server is not None
    again = Store(DataFolder(tmp_path / "another", server))
    assert session_key(again) == session_key(store)
    assert installation_id(again) == installation_id(store)
    elsewhere = Store(DataFolder(tmp_path / "elsewhere", postgres.address(postgres.new_database())))
    prepare(elsewhere.data)
    assert session_key(elsewhere) != session_key(store)
    assert installation_id(elsewhere) != installation_id(store)
    for each in (store, again, elsewhere):
        each.stop()
