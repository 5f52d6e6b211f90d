"""A running master keeps the accounts at a real mosquitto right."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gpumon.datafolder import DataFolder
from gpumon.link import Credentials
from gpumon.roles import Role
from gpumon.settings import BrokerSettings, Settings
from master.accounts import open_accounts
from master.audit import BY_ITSELF
from master.dynamic_security import DynamicSecurity
from master.join_keys import JoinKeys
from master.master import Master
from master.store.engine import Store
from tests.foreign.support import (
    ADMIN,
    ADMIN_PASSWORD,
    Client,
    Mosquitto,
    RefusedError,
    access_to,
    client,
    running_mosquitto,
)
from tests.master.support import info
from tests.support import eventually, free_port

pytestmark = pytest.mark.mosquitto

GPU = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6"


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def new_master(broker: Mosquitto, data: DataFolder) -> Master:
    settings = Settings(broker=BrokerSettings(url=str(broker.address), dynamic_security=True))
    return Master(settings, data, broker.address, Credentials(ADMIN, ADMIN_PASSWORD))


@contextmanager
def running_master(broker: Mosquitto, data: DataFolder) -> Iterator[Master]:
    """A master that has made the broker's accounts its own once, and is connected."""
    master = new_master(broker, data)
    master.start()
    try:
        eventually(lambda: "gpumon:master" in roles_of(broker, ADMIN) and master.is_listening)
        yield master
    finally:
        master.stop()


def clients_of(broker: Mosquitto) -> dict[str, set[str]]:
    """Return who is there with which roles, as mosquitto has written it; it writes in place, so it may be half done."""
    try:
        written = json.loads(broker.accounts.read_text())
    except ValueError:
        return {}
    return {it["username"]: {role["rolename"] for role in it["roles"]} for it in written["clients"]}


def roles_of(broker: Mosquitto, name: str) -> set[str]:
    return clients_of(broker).get(name, set())


def tamper(broker: Mosquitto, *commands: dict[str, Any]) -> None:
    plugin = DynamicSecurity(broker.address, Credentials(ADMIN, ADMIN_PASSWORD))
    plugin.ask(commands)
    plugin.stop()


def reaches(publisher: Client, listener: Client, topic: str) -> bool:
    """Tell whether a publish arrives; the listener hears its own, which comes after it."""
    with suppress(RuntimeError):  # a newer mosquitto cuts off whose role has just been changed
        publisher.publish(topic, b"tried")
    listener.publish("gpumon/the/end", b"the end")
    return topic in listener.until(b"the end")


def test_a_master_gives_itself_its_topics_and_says_that_it_is_online(broker: Mosquitto, data: DataFolder) -> None:
    with running_master(broker, data) as master, client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
        listener.subscribe("gpumon/master/+/status")
        assert listener.messages.get(timeout=10) == (f"gpumon/master/{master.instance}/status", b"online")


def lets_in(broker: Mosquitto, user: str, password: str) -> bool:
    try:
        with client(broker.port, user, password):
            return True
    except RefusedError:
        return False


def test_accounts_that_are_gone_are_shut_out_when_the_master_starts(broker: Mosquitto, data: DataFolder) -> None:
    with access_to(broker) as access, open_accounts(data, access) as accounts:
        password, token = accounts.add_user("ann", Role.OPERATOR), accounts.add_worker("w1")
    with open_accounts(data) as behind_its_back:
        behind_its_back.remove_user("ann")
        behind_its_back.remove_worker("w1")
    with client(broker.port, "ann", password) as cut_off, running_master(broker, data):
        eventually(lambda: not cut_off.is_connected)
        eventually(lambda: "gpumon:worker:w1" not in broker.accounts.read_text())
    assert not lets_in(broker, "ann", password)
    assert not lets_in(broker, "w1", token)


def test_a_master_on_another_data_folder_shuts_everybody_out_only_until_the_right_one_is_back(
    broker: Mosquitto, data: DataFolder, tmp_path: Path
) -> None:
    with running_master(broker, data) as master:
        password, token = master.accounts.add_user("ann", Role.OPERATOR), master.accounts.add_worker("w1")
        assert lets_in(broker, "ann", password)
    with running_master(broker, DataFolder(tmp_path / "by mistake")):
        eventually(lambda: not lets_in(broker, "ann", password))
    with running_master(broker, data):
        eventually(lambda: lets_in(broker, "ann", password))
        assert lets_in(broker, "w1", token)


def test_a_password_that_was_changed_without_telling_the_broker_shuts_the_old_one_out(
    broker: Mosquitto, data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with access_to(broker) as access, open_accounts(data, access) as accounts:
        before = accounts.add_user("ann", Role.OPERATOR)
    with open_accounts(data) as behind_its_back:
        behind_its_back.set_password("ann")
    assert lets_in(broker, "ann", before)
    with caplog.at_level(logging.WARNING), running_master(broker, data) as master:
        eventually(lambda: "ann; give people another with gpumon user passwd NAME" in caplog.text)
        assert not lets_in(broker, "ann", before)
        assert lets_in(broker, "ann", master.accounts.set_password("ann"))


def test_clients_that_gpumon_has_not_made_stay_as_they_are(broker: Mosquitto, data: DataFolder) -> None:
    tamper(
        broker,
        {"command": "createRole", "rolename": "lights", "acls": []},
        {"command": "createClient", "username": "lamp", "password": "p", "roles": [{"rolename": "lights"}]},
    )
    with running_master(broker, data) as master:
        master.accounts.add_user("ann", Role.VIEWER)
        eventually(lambda: roles_of(broker, "ann"))
    assert roles_of(broker, "lamp") == {"lights"}
    assert '"lights"' in broker.accounts.read_text()


def test_roles_and_clients_that_somebody_has_changed_are_set_right(broker: Mosquitto, data: DataFolder) -> None:
    with access_to(broker) as access, open_accounts(data, access) as accounts:
        password = accounts.add_user("ann", Role.VIEWER)
        accounts.add_user("ben", Role.VIEWER)
    tamper(
        broker,
        {"command": "createRole", "rolename": "all", "acls": []},
        {"command": "addRoleACL", "rolename": "gpumon:viewer", "allow": True}
        | {"acltype": "publishClientSend", "topic": "#"},
        {"command": "modifyClient", "username": "ben", "roles": [{"rolename": "gpumon:viewer"}, {"rolename": "all"}]},
    )
    with running_master(broker, data):
        eventually(lambda: roles_of(broker, "ben") == {"gpumon:viewer", "gpumon:nothing-else"})
        with client(broker.port, "ann", password) as ann, client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
            listener.subscribe("gpumon/#")
            assert not reaches(ann, listener, "gpumon/w1/cmd")


def test_accounts_that_the_broker_has_no_password_of_are_named_with_what_to_do(
    broker: Mosquitto, data: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with open_accounts(data) as accounts:
        accounts.add_user("ann", Role.VIEWER)
        accounts.add_worker("w1")
    tamper(broker, {"command": "createClient", "username": "w1", "password": "p"})
    with caplog.at_level(logging.WARNING), running_master(broker, data) as master:
        eventually(lambda: "accounts that cannot log in at the broker" in caplog.text)
        assert "ann; give people another with gpumon user passwd NAME" in caplog.text
        assert "to a client that gpumon has not made: w1" in caplog.text
        password = master.accounts.set_password("ann")
        with client(broker.port, "ann", password) as viewer:
            assert viewer.is_connected


def test_a_limited_operators_workers_follow_their_labels(broker: Mosquitto, data: DataFolder) -> None:
    with running_master(broker, data) as master, client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
        listener.subscribe("gpumon/+/cmd", "gpumon/the/end")
        password = master.accounts.add_user("ann", Role.OPERATOR, commands_on="rack=3")
        for worker, rack in (("w1", "3"), ("w2", "4")):
            listener.publish(f"gpumon/{worker}/info", json.dumps(info(labels={"rack": rack})), retain=True)

        def reached() -> list[str]:
            with client(broker.port, "ann", password) as ann:
                return [name for name in ("w1", "w2", "w3", "all") if reaches(ann, listener, f"gpumon/{name}/cmd")]

        eventually(lambda: reached() == ["w1"], interval_s=0.3)
        listener.publish("gpumon/w1/info", json.dumps(info(labels={"rack": "4"})), retain=True)
        listener.publish("gpumon/w2/info", json.dumps(info(labels={"rack": "3"})), retain=True)
        eventually(lambda: reached() == ["w2"], interval_s=0.3)
        master.accounts.change_user("ann", commands_on="all")
        assert reached() == ["w1", "w2", "w3", "all"]


def test_a_worker_announces_the_gpus_that_it_has(broker: Mosquitto, data: DataFolder) -> None:
    topic = f"homeassistant/device/gpumon_w1_{GPU}/config"
    with running_master(broker, data) as master, client(broker.port, ADMIN, ADMIN_PASSWORD) as listener:
        listener.subscribe("homeassistant/#", "gpumon/the/end")
        token = master.accounts.add_worker("w1")

        def announced() -> bool:
            with client(broker.port, "w1", token) as worker:
                return reaches(worker, listener, topic)

        assert not announced()
        with client(broker.port, "w1", token) as worker:
            gpus = [{"uuid": GPU, "index": 0, "name": "NVIDIA H200"}]
            worker.publish("gpumon/w1/info", json.dumps(info(gpus=gpus)), retain=True)
        eventually(announced, interval_s=0.3)


def test_a_join_key_that_has_expired_lets_nobody_in(broker: Mosquitto, data: DataFolder) -> None:
    with running_master(broker, data), access_to(broker) as access:
        store = Store(data)
        made, key = JoinKeys(store, access).make(BY_ITSELF, lifetime_s=2)
        store.stop()
        with client(broker.port, f"join:{made.id}", key, client_id=f"gpumon-join-{made.id}") as machine:
            eventually(lambda: not machine.is_connected)
        eventually(lambda: clients_of(broker).keys() == {ADMIN})
        with pytest.raises(RefusedError), client(broker.port, f"join:{made.id}", key):
            pass


def test_a_broker_that_has_lost_its_accounts_gets_the_roles_again(tmp_path: Path, data: DataFolder) -> None:
    port = free_port()
    with running_mosquitto(tmp_path, port) as broker:
        master = new_master(broker, data)
        master.start()
        eventually(lambda: master.is_listening and "gpumon:viewer" in broker.accounts.read_text())
    (tmp_path / "dynamic-security.json").unlink()
    try:
        with running_mosquitto(tmp_path, port) as broker:
            eventually(lambda: "gpumon:viewer" in broker.accounts.read_text(), timeout_s=30)
            eventually(lambda: roles_of(broker, ADMIN) == {"admin", "gpumon:master"})
    finally:
        master.stop()
