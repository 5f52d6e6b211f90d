"""Who may publish and read what: the access table, asked as functions and over MQTT."""

from __future__ import annotations

import pytest

from broker.access import is_command_topic, may_publish, may_read
from gpumon.roles import Principal
from gpumon.topics import Topics
from tests.broker.support import ACCOUNTS, TOPICS, Received, RunningBroker, client
from tests.support import eventually

GPU = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6"

# What is published, and who of ACCOUNTS may: worker 1's own topics, then others' and everybody's.
PUBLISHERS = {
    "gpumon/w1/status": "w1 root master",
    "gpumon/w1/info": "w1 root master",
    "gpumon/w1/metrics": "w1 root master",
    "gpumon/w1/event": "w1 root master",
    "gpumon/w1/cmd/output": "w1 root master",
    "gpumon/w1/cmd/result": "w1 root master",
    "gpumon/w1/cmd": "research root master",
    "gpumon/all/cmd": "research root master",
    "gpumon/w1/alert/temperature": "root master",
    "gpumon/w1/anything": "root master",
    "gpumon/master/i1/status": "root master",
    "gpumon/join/c1": "root master",
    "gpumon/join/cmd": "root master",
    "gpumon/audit": "root master",
    "gpumon/w1": "root master",
    "homeassistant/status": "home root master",
    "homeassistant/device/gpumon_w1/config": "w1 root master",
    f"homeassistant/device/gpumon_w1_{GPU}/config": "w1 root master",
    f"homeassistant/device/gpumon_w1_{GPU.lower().replace('-', '_')}/config": "w1 root master",
    "homeassistant/device/gpumon_w1_b/config": "root master",
    "homeassistant/device/gpumon_w1_GPU-1/config": "root master",
    "homeassistant/device/other/config": "root master",
    "somewhere/else": "root master",
}

# What is subscribed to, and who may.
EVERY_READER = "eye research home root master"
SUBSCRIBERS = {
    "gpumon/w1/cmd": f"w1 {EVERY_READER}",
    "gpumon/all/cmd": f"w1 w2 {EVERY_READER}",
    "gpumon/w1/status": f"w1 {EVERY_READER}",
    "homeassistant/status": f"w1 w2 {EVERY_READER}",
    "gpumon/w1/metrics": EVERY_READER,
    "gpumon/w1/cmd/output": EVERY_READER,
    "gpumon/w1/cmd/#": EVERY_READER,
    "gpumon/w1/#": EVERY_READER,
    "gpumon/+/cmd": EVERY_READER,
    "gpumon/+/status": EVERY_READER,
    "gpumon/#": EVERY_READER,
    "gpumon/+": EVERY_READER,
    "gpumon/master/+/status": EVERY_READER,
    "homeassistant/#": EVERY_READER,
    "gpumon/join/#": "root master",
    "gpumon/join/c1/reply": "root master",
    "gpumon/join/+": "root master",
    "gpumon/audit": "root master",
    "gpumon/audit/#": "root master",
    "#": "root master",
    "+/#": "root master",
    "+/w1/cmd": "root master",
    "$SYS/#": "root master",
    "somewhere/else": "root master",
}

# What is delivered to somebody who has subscribed to as much as is allowed, `gpumon/#`.
HIDDEN = ("gpumon/join/c1", "gpumon/join/c1/reply", "gpumon/audit")


@pytest.mark.parametrize("topic", PUBLISHERS)
@pytest.mark.parametrize("user", ACCOUNTS)
def test_each_role_may_publish_what_the_table_says(user: str, topic: str) -> None:
    assert may_publish(Principal(user, ACCOUNTS[user]), topic, TOPICS) == (user in PUBLISHERS[topic].split())


@pytest.mark.parametrize("topic_filter", SUBSCRIBERS)
@pytest.mark.parametrize("user", ACCOUNTS)
def test_each_role_may_read_what_the_table_says(user: str, topic_filter: str) -> None:
    allowed = user in SUBSCRIBERS[topic_filter].split()
    assert may_read(Principal(user, ACCOUNTS[user]), topic_filter, TOPICS) == allowed


@pytest.mark.parametrize("user", ACCOUNTS)
def test_over_mqtt_each_role_reaches_the_topics_of_the_table_and_no_others(
    shared_broker: RunningBroker, user: str
) -> None:
    with client(shared_broker.port, "master") as reader, client(shared_broker.port, user) as publisher:
        reader.subscribe("#", 1)
        reader.seen()
        refused_before = shared_broker.counters.refused_publishes
        for topic in PUBLISHERS:
            publisher.publish(topic, f"from {user}")
        publisher.publish("gpumon/w1/metrics" if user == "w1" else "somewhere/else", "the last")
        expected = {topic for topic, users in PUBLISHERS.items() if user in users.split()}
        refused = len(PUBLISHERS) - len(expected) + (user not in ("w1", "root", "master"))
        eventually(lambda: shared_broker.counters.refused_publishes - refused_before == refused)
        arrived: list[Received] = []

        def all_arrived() -> bool:
            arrived.extend(message for message in reader.seen() if message.payload == f"from {user}".encode())
            return len(arrived) >= len(expected)

        eventually(all_arrived)
        assert {message.topic for message in arrived} == expected


@pytest.mark.parametrize("user", ACCOUNTS)
def test_over_mqtt_a_subscription_that_the_table_does_not_have_is_answered_with_0x80(
    shared_broker: RunningBroker, user: str
) -> None:
    with client(shared_broker.port, user) as reader:
        answers = {topic_filter: reader.subscribe(topic_filter, 1) for topic_filter in SUBSCRIBERS}
    assert answers == {
        topic_filter: 1 if user in users.split() else 0x80 for topic_filter, users in SUBSCRIBERS.items()
    }


@pytest.mark.parametrize("user", ["eye", "research", "home"])
def test_a_wildcard_does_not_reach_what_is_hidden(shared_broker: RunningBroker, user: str) -> None:
    with client(shared_broker.port, user) as reader, client(shared_broker.port, "root") as admin:
        for topic in HIDDEN:
            admin.publish(topic, "kept before", retain=True)
        assert reader.subscribe("gpumon/#", 1) == 1
        assert reader.subscribe("gpumon/+/+/reply", 1) == 1
        for topic in HIDDEN:
            admin.publish(topic, "live")
        admin.publish("gpumon/w1/event", "the last")
        seen = [reader.get()]
        while seen[-1].payload != b"the last":
            seen.append(reader.get())
        assert not [message.topic for message in seen if message.topic in HIDDEN]
        for topic in HIDDEN:
            admin.publish(topic, b"", retain=True)


def test_a_worker_whose_name_begins_like_anothers_cannot_announce_devices_for_it() -> None:
    topic = "homeassistant/device/gpumon_a_b/config"
    assert not may_publish(Principal("a", ACCOUNTS["w1"]), topic, TOPICS)
    assert may_publish(Principal("a_b", ACCOUNTS["w1"]), topic, TOPICS)


def test_the_table_follows_the_base_of_all_topics() -> None:
    topics = Topics("lab")
    worker, viewer = Principal("w1", ACCOUNTS["w1"]), Principal("eye", ACCOUNTS["eye"])
    assert may_publish(worker, "lab/w1/status", topics)
    assert not may_publish(worker, "gpumon/w1/status", topics)
    assert may_read(viewer, "lab/#", topics)
    assert not may_read(viewer, "gpumon/#", topics)
    assert not may_read(viewer, "lab/audit", topics)


def test_a_stranger_whose_client_id_is_cmd_does_not_publish_commands_by_joining() -> None:
    assert is_command_topic("gpumon/w1/cmd", TOPICS)
    assert is_command_topic("gpumon/all/cmd", TOPICS)
    assert not is_command_topic("gpumon/join/cmd", TOPICS)
    assert not is_command_topic("gpumon/w1/cmd/output", TOPICS)
