"""The contract's access table at a real mosquitto: each role x its topics x publish, subscribe and will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from master.foreign_roles import Told, user_name
from tests.access_table import (
    ACCOUNTS,
    GPU,
    HIDDEN,
    LABELS,
    PUBLISHERS,
    READERS,
    STRANGER_CLIENT_ID,
    SUBSCRIBERS,
    WIDER_AT_MOSQUITTO,
    may,
)
from tests.foreign.support import (
    ADMIN,
    ADMIN_PASSWORD,
    Client,
    Mosquitto,
    RefusedError,
    access_to,
    client,
    die_with_will,
    running_mosquitto,
)

pytestmark = pytest.mark.mosquitto

PASSWORD = "correct"
TOLD = {name: Told(labels, (GPU,) if name == "w1" else ()) for name, labels in LABELS.items()}


@pytest.fixture(scope="module")
def table_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A mosquitto that knows everybody of the table, and what the workers tell of themselves."""
    with running_mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker, access_to(broker) as access:
        for principal in ACCOUNTS.values():
            access.put(principal, PASSWORD)
        access.set_right(access.present(), ACCOUNTS.values(), TOLD)
        yield broker


def logged_in(broker: Mosquitto, name: str, will: str | None = None) -> AbstractContextManager[Client]:
    client_id = STRANGER_CLIENT_ID if name == "stranger" else ""
    return client(broker.port, user_name(ACCOUNTS[name]), PASSWORD, client_id=client_id, will=will)


@pytest.fixture(scope="module")
def listener(table_broker: Mosquitto) -> Iterator[Client]:
    """The master, who hears everything."""
    with client(table_broker.port, ADMIN, ADMIN_PASSWORD) as opened:
        assert opened.subscribe("#") == [1]
        yield opened


def expected_publishes(name: str) -> set[str]:
    return {topic for topic in PUBLISHERS if may(PUBLISHERS, name, topic) or (name, topic) in WIDER_AT_MOSQUITTO}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_each_role_publishes_what_the_table_says_and_nothing_else(
    table_broker: Mosquitto, listener: Client, name: str
) -> None:
    with logged_in(table_broker, name) as publisher:
        for topic in PUBLISHERS:
            publisher.publish(topic)
    listener.publish("gpumon/the/end", b"the end")
    assert sorted(listener.until(b"the end")) == sorted(expected_publishes(name))


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_subscription_that_the_table_does_not_have_is_answered_with_0x80(table_broker: Mosquitto, name: str) -> None:
    with logged_in(table_broker, name) as reader:
        answers = dict(zip(SUBSCRIBERS, reader.subscribe(*SUBSCRIBERS), strict=True))
    assert answers == {topic: 1 if may(SUBSCRIBERS, name, topic) else 0x80 for topic in SUBSCRIBERS}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_will_counts_as_a_publish(table_broker: Mosquitto, listener: Client, name: str) -> None:
    user, client_id = user_name(ACCOUNTS[name]), STRANGER_CLIENT_ID if name == "stranger" else f"dies-{name}"
    for topic in PUBLISHERS:
        die_with_will(table_broker.port, user, PASSWORD, client_id, topic)
    listener.publish("gpumon/the/end", b"the end")
    assert sorted(listener.until(b"the end")) == sorted(expected_publishes(name))


@pytest.mark.parametrize("name", READERS.replace("root", "").split())
def test_a_wildcard_does_not_reach_what_is_hidden(table_broker: Mosquitto, listener: Client, name: str) -> None:
    for topic in HIDDEN:
        listener.publish(topic, b"kept before", retain=True)
    with logged_in(table_broker, name) as reader:
        assert reader.subscribe("gpumon/#", "gpumon/+/+/reply") == [1, 1]
        for topic in HIDDEN:
            listener.publish(topic, b"live")
        listener.publish("gpumon/w1/event", b"the last")
        assert not [topic for topic in reader.until(b"the last") if topic in HIDDEN]
    for topic in HIDDEN:
        listener.publish(topic, b"", retain=True)


@pytest.mark.parametrize("name", [name for name in ACCOUNTS if name != "root"])
def test_a_shared_subscription_opens_nothing(table_broker: Mosquitto, name: str) -> None:
    filters = ("$share/g/gpumon/join/#", "$share/g/#", "$share/g/gpumon/audit", "$share/g/gpumon/w2/cmd")
    with logged_in(table_broker, name) as reader:
        assert reader.subscribe(*filters) == [0x80] * 4


def test_nobody_but_the_masters_account_administers_the_plugin(table_broker: Mosquitto) -> None:
    control = "$CONTROL/dynamic-security/v1"
    for name in ACCOUNTS:
        with logged_in(table_broker, name) as reader:
            reader.subscribe(f"{control}/response")
            reader.publish(control, b'{"commands":[{"command":"deleteClient","username":"w2"}]}')
            assert reader.messages.empty()
    with logged_in(table_broker, "w2") as worker:
        assert worker.is_connected


def test_a_join_key_is_of_use_with_its_own_client_id_alone(table_broker: Mosquitto) -> None:
    for client_id in ("", "gpumon-join-other"):
        with (
            pytest.raises(RefusedError),
            client(table_broker.port, user_name(ACCOUNTS["stranger"]), PASSWORD, client_id=client_id),
        ):
            pass


@pytest.mark.parametrize(("user", "password"), [(None, ""), ("nobody", PASSWORD), ("w1", "wrong"), ("w1", "")])
def test_who_is_not_known_is_not_let_in(table_broker: Mosquitto, user: str | None, password: str) -> None:
    with pytest.raises(RefusedError), client(table_broker.port, user, password):
        pass
