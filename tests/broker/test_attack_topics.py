"""Every role against every topic, from real connections: publish, subscribe, read, will, retained.

What is expected is written down here from the table of the design, role by role, and not asked from the code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.broker.support import (
    RawClient,
    RunningBroker,
    connect_packet,
    encoded,
    packet,
    publish_packet,
    running_broker,
    subscribe_packet,
)
from tests.support import eventually

GPU = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6"
ACCEPTED, REFUSED = 0, 0x80

# w1 and w2 are workers, rack3 an operator limited to rack=3 (where w3 is), flows an integration that was granted
# commands, home one that was not, join a machine that has a join key.
ROLES = ("w1", "w2", "eye", "research", "rack3", "home", "flows", "join", "root", "master")
READERS = "eye research rack3 home flows"
EVERYTHING = ("root", "master")

# `{me}` is the client id with which the attempt is made. root and master may everything, except where it says nobody.
PUBLISH = {
    "gpumon/w1/status": "w1",
    "gpumon/w1/info": "w1",
    "gpumon/w1/metrics": "w1",
    "gpumon/w1/event": "w1",
    "gpumon/w1/cmd/output": "w1",
    "gpumon/w1/cmd/result": "w1",
    "homeassistant/device/gpumon_w1/config": "w1",
    f"homeassistant/device/gpumon_w1_{GPU}/config": "w1",
    f"homeassistant/device/gpumon_w1_{GPU.lower().replace('-', '_')}/config": "w1",
    "gpumon/w1/cmd": "research flows",
    "gpumon/w3/cmd": "research flows rack3",
    "gpumon/unknown/cmd": "research flows",
    "gpumon/all/cmd": "research flows",
    "homeassistant/status": "home flows",
    "gpumon/join/{me}": "join",
    "gpumon/audit": "nobody",
    "gpumon/w1/alert/temperature": "",
    "gpumon/master/i1/status": "",
    "gpumon/join/{me}/reply": "",
    "gpumon/join/other": "",
    "gpumon/join/other/reply": "",
    "gpumon/join/cmd": "",
    "gpumon/join": "",
    # The neighbours of what somebody may.
    "gpumon": "",
    "gpumon/w1": "",
    "gpumon/w1/": "",
    "gpumon/w1/cmd/": "",
    "gpumon/w1/cmd/extra": "",
    "gpumon/w1/cmd/cmd": "",
    "gpumon/w1/status/extra": "",
    "gpumon/w1/Status": "",
    "gpumon/w1/anything": "",
    "gpumon/w1 /status": "",
    "gpumon/W1/status": "",
    "gpumon//cmd": "",
    "gpumon/-w1/cmd": "",
    "gpumon/master/cmd": "",
    "gpumon/audit/cmd": "",
    "gpumon/all/cmd/": "",
    "gpumon/all/status": "",
    "gpumon/all/cmd/output": "",
    "/gpumon/w1/cmd": "",
    "gpumonx/w1/cmd": "",
    "GPUMON/w1/cmd": "",
    "other/w1/cmd": "",
    "other/w1/status": "",
    "homeassistant": "",
    "homeassistant/status/extra": "",
    "homeassistant/device/gpumon_w1_b/config": "",
    "homeassistant/device/gpumon_w1_GPU-1/config": "",
    "homeassistant/device/gpumon_w1/config/extra": "",
    "homeassistant/device/gpumon_/config": "",
    "homeassistant/device/other/config": "",
    "homeassistant/sensor/gpumon_w1/config": "",
    "$SYS/broker/version": "",
    "$SYS/gpumon/w1/cmd": "",
    "$gpumon/w1/status": "",
}
# What holds a command, joining or the audit is dropped where it is to be retained, whoever sends it.
NEVER_RETAINED = {
    topic
    for topic in PUBLISH
    if topic.startswith(("gpumon/join", "gpumon/audit"))
    or (topic.startswith("gpumon/") and topic.count("/") == 2 and topic.endswith("/cmd"))
}

SUBSCRIBE = {
    "gpumon/w1/cmd": f"w1 {READERS}",
    "gpumon/w1/status": f"w1 {READERS}",
    "gpumon/all/cmd": f"w1 w2 {READERS}",
    "homeassistant/status": f"w1 w2 {READERS}",
    "gpumon/join/{me}/reply": "join",
    **dict.fromkeys(
        (
            "gpumon/#",
            "gpumon/+",
            "gpumon/+/+",
            "gpumon/+/cmd",
            "gpumon/+/cmd/#",
            "gpumon/+/+/reply",
            "gpumon/w1/#",
            "gpumon/w1/+",
            "gpumon/w1/info",
            "gpumon/w1/metrics",
            "gpumon/w1/event",
            "gpumon/w1/cmd/output",
            "gpumon/w1/alert/#",
            "gpumon/w3/cmd",
            "gpumon/master/+/status",
            "homeassistant/#",
            "homeassistant/device/+/config",
        ),
        READERS,
    ),
    **dict.fromkeys(
        (
            "#",
            "+/#",
            "+/+/cmd",
            "+/w1/cmd",
            "+/w1/status",
            "+/status",
            "/#",
            "gpumon/join/#",
            "gpumon/join/+",
            "gpumon/join/+/reply",
            "gpumon/join/{me}",
            "gpumon/join/{me}/#",
            "gpumon/join/{me}/+",
            "gpumon/join/other/reply",
            "gpumon/join",
            "gpumon/audit",
            "gpumon/audit/#",
            "other/#",
            "gpumonx/#",
            "GPUMON/#",
            "$SYS/#",
            "$SYS/broker/version",
            "$gpumon/#",
        ),
        "",
    ),
    "$share/group/gpumon/#": "nobody",
    "$share/group/gpumon/w1/cmd": "nobody",
}

# Which topics reach somebody who has subscribed to everything that the table above grants.
_OURS = {topic for topic in PUBLISH if topic.startswith("gpumon/")} | {"gpumon"}
_HIDDEN = {topic for topic in _OURS if topic.startswith(("gpumon/join", "gpumon/audit"))}
_HOME_ASSISTANTS = {topic for topic in PUBLISH if topic.split("/")[0] == "homeassistant"}
READ = {
    "w1": {"gpumon/w1/cmd", "gpumon/w1/status", "gpumon/all/cmd", "homeassistant/status"},
    "w2": {"gpumon/all/cmd", "homeassistant/status"},
    "join": {"gpumon/join/{me}/reply"},
    **dict.fromkeys(READERS.split(), _OURS - _HIDDEN | _HOME_ASSISTANTS),
    **{role: set(PUBLISH) - {"gpumon/audit"} for role in EVERYTHING},
}

_numbers = itertools.count()


def allowed(table: dict[str, str], role: str, me: str) -> set[str]:
    """Return the topics of a table that are granted to a role."""
    return {
        topic.replace("{me}", me)
        for topic, roles in table.items()
        if role in roles.split() or (role in EVERYTHING and roles != "nobody")
    }


def connected(broker: RunningBroker, role: str, me: str) -> RawClient:
    client = RawClient(broker.port, connect_packet(role, client_id=me))
    assert client.receive() == (0x20, bytes((0, ACCEPTED)))
    return client


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    """One broker, on which w1 is in rack 1 and w3 in rack 3."""
    with running_broker() as running:
        for worker, rack in (("w1", "1"), ("w3", "3")):
            with connected(running, worker, f"{worker}-itself") as client:
                info = json.dumps({"v": 1, "labels": {"rack": rack}}).encode()
                client.send(publish_packet(f"gpumon/{worker}/info", info, retain=True))
                client.collect()
        yield running


@pytest.fixture(scope="module")
def watcher(broker: RunningBroker) -> Iterator[RawClient]:
    """The master, which hears everything."""
    with connected(broker, "master", "watcher") as client:
        client.send(*(subscribe_packet(each) for each in ("#", "$SYS/#", "$gpumon/#")))
        client.collect()
        yield client


def heard(watcher: RawClient, mark: bytes) -> set[str]:
    """Return the topics on which the watcher has just heard this payload."""
    return {message.topic for message in watcher.collect() if message.payload == mark}


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_the_topics_of_the_table_and_no_others(
    broker: RunningBroker, watcher: RawClient, role: str, qos: int
) -> None:
    me, mark = f"me-{next(_numbers)}", f"from {role} at {qos}".encode()
    refused = broker.counters.refused_publishes
    with connected(broker, role, me) as client:
        topics = [topic.replace("{me}", me) for topic in PUBLISH]
        client.send(*(publish_packet(topic, mark, qos, number) for number, topic in enumerate(topics, 1)))
        client.collect()
        assert heard(watcher, mark) == allowed(PUBLISH, role, me)
    assert broker.counters.refused_publishes - refused == len(PUBLISH) - len(allowed(PUBLISH, role, me))


@pytest.mark.parametrize("role", ROLES)
def test_what_each_role_may_retain_is_kept_and_nothing_else(
    broker: RunningBroker, watcher: RawClient, role: str
) -> None:
    me, mark = f"me-{next(_numbers)}", f"kept from {role}".encode()
    never = {topic.replace("{me}", me) for topic in NEVER_RETAINED}
    with connected(broker, role, me) as client, connected(broker, "master", "later") as later:
        topics = [topic.replace("{me}", me) for topic in PUBLISH if topic != "gpumon/w1/info"]
        client.send(*(publish_packet(topic, mark, 1, number, retain=True) for number, topic in enumerate(topics, 1)))
        client.collect()
        expected = allowed(PUBLISH, role, me) - never - {"gpumon/w1/info"}
        assert heard(watcher, mark) == expected
        later.send(*(subscribe_packet(each) for each in ("#", "$SYS/#", "$gpumon/#")))
        assert {message.topic for message in later.collect() if message.payload == mark} == expected
        later.send(*(publish_packet(topic, b"", retain=True) for topic in expected))
        later.collect()
        watcher.collect()


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_a_will_reaches_what_its_client_may_publish_and_nothing_else(
    broker: RunningBroker, watcher: RawClient, role: str, *, retain: bool
) -> None:
    mark = f"{role} has died {retain}".encode()
    expected: set[str] = set()
    for topic in PUBLISH:
        me = f"me-{next(_numbers)}"
        will = topic.replace("{me}", me)
        client = RawClient(broker.port, connect_packet(role, client_id=me, will=(will, mark, 1, retain)))
        assert client.receive() == (0x20, bytes((0, ACCEPTED)))
        client.socket.close()
        if will in allowed(PUBLISH, role, me) and not (retain and topic in NEVER_RETAINED):
            expected.add(will)
    eventually(lambda: broker.counters.connections == 1)
    assert heard(watcher, mark) == expected
    watcher.send(*(publish_packet(topic, b"", retain=True) for topic in expected if retain))
    watcher.collect()


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_granted_the_subscriptions_of_the_table_and_refused_all_others(
    broker: RunningBroker, role: str
) -> None:
    me = f"me-{next(_numbers)}"
    filters = [topic_filter.replace("{me}", me) for topic_filter in SUBSCRIBE]
    granted = set()
    with connected(broker, role, me) as client:
        for topic_filter in filters:
            client.send(subscribe_packet(topic_filter, 1))
            first, body = client.receive()
            while first != 0x90:
                first, body = client.receive()
            assert body[2] in (1, REFUSED)
            granted |= {topic_filter} if body[2] == 1 else set()
    assert granted == allowed(SUBSCRIBE, role, me)


@pytest.mark.parametrize("retained", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_hears_what_the_table_says_however_it_subscribes(
    broker: RunningBroker, watcher: RawClient, role: str, *, retained: bool
) -> None:
    me, mark = f"me-{next(_numbers)}", f"for {role} {retained}".encode()
    topics = [topic.replace("{me}", me) for topic in PUBLISH if topic != "gpumon/w1/info"]
    publishes = [publish_packet(topic, mark, 1, number, retain=retained) for number, topic in enumerate(topics, 1)]
    subscribes = [subscribe_packet(topic_filter.replace("{me}", me)) for topic_filter in SUBSCRIBE]
    expected = {topic.replace("{me}", me) for topic in READ[role] if topic != "gpumon/w1/info"}
    if retained:
        expected -= {topic.replace("{me}", me) for topic in NEVER_RETAINED}
    with connected(broker, role, me) as client, connected(broker, "master", "speaker") as speaker:
        for packets, sender in (
            ((publishes, speaker), (subscribes, client))
            if retained
            else (
                (subscribes, client),
                (publishes, speaker),
            )
        ):
            sender.send(*packets)
            messages = sender.collect()
        if not retained:
            messages = client.collect()
        assert {message.topic for message in messages if message.payload == mark} == expected
        if retained:
            speaker.send(*(publish_packet(topic, b"", retain=True) for topic in topics))
            speaker.collect()
    watcher.collect()


@pytest.mark.parametrize(
    "introduction",
    [
        *(connect_packet(role, password="wrong", client_id="guess") for role in ROLES),
        connect_packet("nobody", client_id="guess"),
        packet(0x10, encoded("MQTT") + b"\4\2\0\x3c" + encoded("anonymous")),
        b"",
    ],
    ids=[*(f"{role} with a wrong password" for role in ROLES), "unknown", "anonymous", "no CONNECT"],
)
def test_who_is_not_let_in_publishes_and_hears_nothing(
    broker: RunningBroker, watcher: RawClient, introduction: bytes
) -> None:
    will = connect_packet("w1", password="wrong", client_id="guess", will=("gpumon/w1/status", b"boo", 1, True))
    attempts = [publish_packet(topic.replace("{me}", "guess"), b"boo", 1, retain=True) for topic in PUBLISH]
    subscribes = [subscribe_packet(topic_filter.replace("{me}", "guess")) for topic_filter in SUBSCRIBE]
    messages = broker.counters.messages_in
    for first in (introduction, will):
        with RawClient(broker.port) as client:
            client.send_anyway(first, *attempts, *subscribes)
            answer = client.read_to_the_end()
            assert answer in (b"", b"\x20\2\0\5", b"\x20\2\0\3")
    assert broker.counters.messages_in == messages
    assert not heard(watcher, b"boo")


@pytest.mark.parametrize("topic", ["gpumon/+/cmd", "gpumon/#", "#", "", "gpumon/w1/\0status"])
@pytest.mark.parametrize("role", ROLES)
def test_a_wildcard_is_no_topic_to_publish_to(broker: RunningBroker, watcher: RawClient, role: str, topic: str) -> None:
    me = f"me-{next(_numbers)}"
    with connected(broker, role, me) as client:
        client.send_anyway(publish_packet(topic, b"boo", 1))
        assert client.read_to_the_end() == b""
    assert not heard(watcher, b"boo")
