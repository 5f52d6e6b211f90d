"""Every change of an account reaches a real mosquitto at once, or is not made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.link import Credentials
from gpumon.roles import Role
from master import dynamic_security
from master.accounts import Accounts, open_accounts
from master.audit import BY_ITSELF
from master.dynamic_security import DynamicSecurity, DynamicSecurityError
from master.foreign_access import ForeignAccess, ForeignAccessError
from master.join_keys import JoinKeys
from master.store.engine import Store
from tests.foreign.support import (
    ADMIN,
    ADMIN_PASSWORD,
    TOPICS,
    Mosquitto,
    RefusedError,
    access_to,
    client,
    running_mosquitto,
    somebody_elses,
)
from tests.support import eventually, free_port, mosquitto

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def accounts(data: DataFolder, access: ForeignAccess) -> Iterator[Accounts]:
    """Accounts that the broker is told of; a master has been there once."""
    access.set_right(access.present(), [], {})
    with open_accounts(data, access) as opened:
        yield opened


def lets_in(broker: Mosquitto, user: str, password: str, client_id: str = "") -> bool:
    try:
        with client(broker.port, user, password, client_id=client_id):
            return True
    except RefusedError:
        return False


def roles_at(broker: Mosquitto, user: str) -> set[str]:
    """Return the names of a client's roles, as mosquitto has written them to its file."""
    clients = {it["username"]: it for it in json.loads(broker.accounts.read_text())["clients"]}
    return {role["rolename"] for role in clients[user]["roles"]} if user in clients else set()


def test_somebody_who_is_added_can_log_in_at_once(broker: Mosquitto, accounts: Accounts) -> None:
    password = accounts.add_user("ann", Role.OPERATOR)
    with client(broker.port, "ann", password) as operator, client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
        assert operator.subscribe("gpumon/#") == [1]
        listener.subscribe("gpumon/w1/cmd")
        operator.publish("gpumon/w1/cmd", b"ls")
        assert listener.until(b"ls") == []
    assert not lets_in(broker, "ann", "another password")


def test_another_password_closes_the_connections_of_the_one_before(broker: Mosquitto, accounts: Accounts) -> None:
    before = accounts.add_user("ann", Role.VIEWER)
    with client(broker.port, "ann", before) as viewer:
        after = accounts.set_password("ann")
        eventually(lambda: not viewer.is_connected)
    assert not lets_in(broker, "ann", before)
    assert lets_in(broker, "ann", after)


def test_another_role_closes_the_connections_of_the_one_before(broker: Mosquitto, accounts: Accounts) -> None:
    password = accounts.add_user("ann", Role.OPERATOR)
    with client(broker.port, "ann", password) as operator:
        accounts.change_user("ann", Role.VIEWER)
        eventually(lambda: not operator.is_connected)
    assert roles_at(broker, "ann") == {"gpumon:viewer", "gpumon:nothing-else"}
    assert lets_in(broker, "ann", password)


def test_somebody_who_is_removed_is_cut_off(broker: Mosquitto, accounts: Accounts) -> None:
    password = accounts.add_user("ann", Role.VIEWER)
    with client(broker.port, "ann", password) as viewer:
        accounts.remove_user("ann")
        eventually(lambda: not viewer.is_connected)
    assert not lets_in(broker, "ann", password)


def test_a_worker_that_is_removed_is_cut_off_and_its_will_is_not_published(
    broker: Mosquitto, accounts: Accounts
) -> None:
    token = accounts.add_worker("w1")
    with client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
        listener.subscribe("gpumon/#")
        with client(broker.port, "w1", token, will="gpumon/w1/status") as worker:
            accounts.remove_worker("w1")
            eventually(lambda: not worker.is_connected)
        listener.publish("gpumon/the/end", b"the end")
        assert listener.until(b"the end") == []
    assert not lets_in(broker, "w1", token)
    assert "gpumon:worker:w1" not in broker.accounts.read_text()


def test_a_worker_with_another_token_is_cut_off_until_it_shows_that(broker: Mosquitto, accounts: Accounts) -> None:
    before = accounts.add_worker("w1")
    with client(broker.port, "w1", before) as worker:
        after = accounts.rotate_worker("w1")
        eventually(lambda: not worker.is_connected)
    assert not lets_in(broker, "w1", before)
    assert lets_in(broker, "w1", after)
    replaced = accounts.add_worker("w1", replace=True)
    assert lets_in(broker, "w1", replaced)
    assert not lets_in(broker, "w1", after)


def test_a_join_key_lets_one_client_id_in_until_it_is_revoked(
    data: DataFolder, broker: Mosquitto, access: ForeignAccess, accounts: Accounts
) -> None:
    store = Store(data)
    keys = JoinKeys(store, access)
    made, key = keys.make(BY_ITSELF)
    user, client_id = f"join:{made.id}", f"gpumon-join-{made.id}"
    assert not lets_in(broker, user, key)
    with client(broker.port, user, key, client_id=client_id) as machine:
        assert machine.subscribe(f"gpumon/join/{client_id}/reply", "gpumon/join/+/reply") == [1, 0x80]
        keys.revoke(made.id, BY_ITSELF)
        eventually(lambda: not machine.is_connected)
    assert not lets_in(broker, user, key, client_id)
    store.stop()


CHANGES: dict[str, Callable[[Accounts], object]] = {
    "user add": lambda accounts: accounts.add_user("ben", Role.VIEWER),
    "user passwd": lambda accounts: accounts.set_password("ann"),
    "user change": lambda accounts: accounts.change_user("ann", Role.OPERATOR),
    "user remove": lambda accounts: accounts.remove_user("ann"),
    "worker add": lambda accounts: accounts.add_worker("w2"),
    "worker rotate": lambda accounts: accounts.rotate_worker("w1"),
    "worker remove": lambda accounts: accounts.remove_worker("w1"),
    "first start": lambda accounts: accounts.first_login(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_without_the_broker_nothing_is_changed(
    tmp_path: Path, data: DataFolder, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_security, "CONNECT_TIMEOUT_S", 0.3)
    with open_accounts(data) as before:
        password, token = before.add_user("ann", Role.VIEWER), before.add_worker("w1")
    nobody = DynamicSecurity(Mosquitto(free_port(), tmp_path).address, Credentials(ADMIN, ADMIN_PASSWORD))
    access = ForeignAccess(nobody, TOPICS)
    with open_accounts(data, access) as accounts:
        with pytest.raises(DynamicSecurityError, match="no broker answers there: is it running"):
            CHANGES[change](accounts)
        assert [(user.name, user.role) for user in accounts.users()] == [("ann", Role.VIEWER)]
        assert [worker.worker_id for worker in accounts.workers()] == ["w1"]
        assert accounts.authenticate("ann", password)
        assert accounts.authenticate("w1", token)
    access.stop()


def test_what_the_broker_refuses_is_not_changed_here_either(
    broker: Mosquitto, access: ForeignAccess, accounts: Accounts
) -> None:
    somebody_elses(broker, "ann")
    with pytest.raises(ForeignAccessError, match=r"ann is a client of the broker .* that gpumon has not made"):
        accounts.add_user("ann", Role.ADMIN)
    with pytest.raises(ForeignAccessError, match=r"ann is a client of the broker .* that gpumon has not made"):
        accounts.add_worker("ann")
    with pytest.raises(ForeignAccessError, match="gpumon is gpumon's own name at the broker"):
        accounts.add_user(ADMIN, Role.ADMIN)
    assert accounts.users() == []
    assert accounts.workers() == []
    assert lets_in(broker, "ann", "somebody else's")


def test_accounts_are_there_again_when_the_broker_starts_again(tmp_path: Path, data: DataFolder) -> None:
    with running_mosquitto(tmp_path) as broker, access_to(broker) as access, open_accounts(data, access) as accounts:
        password, token = accounts.add_user("ann", Role.VIEWER), accounts.add_worker("w1")
    with running_mosquitto(tmp_path) as broker:
        assert lets_in(broker, "ann", password)
        assert lets_in(broker, "w1", token)


def test_no_secret_is_in_the_brokers_log_or_file(broker: Mosquitto, accounts: Accounts) -> None:
    secrets = [accounts.add_user("ann", Role.VIEWER), accounts.set_password("ann"), accounts.add_worker("w1")]
    written = broker.said() + broker.accounts.read_text()
    assert "createClient" in written
    assert not [secret for secret in (*secrets, ADMIN_PASSWORD) if secret in written]


def test_a_broker_without_the_plugin_is_told_apart(
    tmp_path: Path, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_security, "ANSWER_TIMEOUT_S", 0.5)
    with mosquitto(tmp_path) as port:
        access = ForeignAccess(
            DynamicSecurity(Mosquitto(port, tmp_path).address, Credentials(ADMIN, ADMIN_PASSWORD)), TOPICS
        )
        with (
            open_accounts(data, access) as accounts,
            pytest.raises(DynamicSecurityError, match="is mosquitto's dynamic-security plugin loaded there"),
        ):
            accounts.add_user("ann", Role.VIEWER)
        access.stop()


def test_a_wrong_password_of_the_brokers_account_is_told_at_once(broker: Mosquitto, data: DataFolder) -> None:
    access = ForeignAccess(DynamicSecurity(broker.address, Credentials(ADMIN, "wrong")), TOPICS)
    with open_accounts(data, access) as accounts, pytest.raises(GpumonError, match="refused the connection"):
        accounts.add_worker("w1")
    access.stop()
