"""Rules of the access table that stand on their own; the whole table is tried over MQTT in test_attack_topics.py."""

from __future__ import annotations

import pytest

from broker.access import is_command_topic, is_never_retained, may_publish, may_read
from gpumon.roles import Principal, Role
from gpumon.topics import Topics
from tests.broker.support import ACCOUNTS, TOPICS

LIMITED = Principal("rack3", Role.OPERATOR, commands_on=(("rack", "3"), ("site", "a")))
LABELS = {"w1": {"rack": "3", "site": "a", "row": "7"}, "w2": {"rack": "3"}, "w3": {"rack": "3", "site": "b"}, "w4": {}}


def test_a_worker_whose_name_begins_like_anothers_cannot_announce_devices_for_it() -> None:
    topic = "homeassistant/device/gpumon_a_b/config"
    assert not may_publish(Principal("a", Role.WORKER), topic, TOPICS)
    assert may_publish(Principal("a_b", Role.WORKER), topic, TOPICS)


def test_the_table_follows_the_base_of_all_topics() -> None:
    topics = Topics("lab")
    worker, viewer = ACCOUNTS["w1"], ACCOUNTS["eye"]
    assert may_publish(worker, "lab/w1/status", topics)
    assert not may_publish(worker, "gpumon/w1/status", topics)
    assert may_read(viewer, "lab/#", topics)
    assert not may_read(viewer, "gpumon/#", topics)
    assert not may_read(viewer, "lab/audit", topics)
    assert is_never_retained("lab/join/c1", topics)


def test_a_stranger_whose_client_id_is_cmd_does_not_publish_commands_by_joining() -> None:
    assert is_command_topic("gpumon/w1/cmd", TOPICS)
    assert is_command_topic("gpumon/all/cmd", TOPICS)
    assert not is_command_topic("gpumon/join/cmd", TOPICS)
    assert not is_command_topic("gpumon/w1/cmd/output", TOPICS)


@pytest.mark.parametrize(
    ("worker", "allowed"), [("w1", True), ("w2", False), ("w3", False), ("w4", False), ("w5", False)]
)
def test_a_limited_operator_needs_all_its_labels_on_a_worker_that_is_known(worker: str, *, allowed: bool) -> None:
    assert may_publish(LIMITED, f"gpumon/{worker}/cmd", TOPICS, labels_of=LABELS.get) == allowed
    integration = Principal("flows", Role.INTEGRATION, LIMITED.commands_on)
    assert may_publish(integration, f"gpumon/{worker}/cmd", TOPICS, labels_of=LABELS.get) == allowed


def test_who_is_limited_never_commands_all() -> None:
    assert not may_publish(LIMITED, "gpumon/all/cmd", TOPICS, labels_of=lambda _: {"rack": "3", "site": "a"})


@pytest.mark.parametrize("client_id", ["+", "#", "a/b", "", "x" * 129, "a\n", "ä"])
def test_a_strangers_client_id_opens_no_other_topics(client_id: str) -> None:
    stranger = ACCOUNTS["join"]
    assert not may_publish(stranger, TOPICS.join_request(client_id), TOPICS, client_id=client_id)
    assert not may_read(stranger, TOPICS.join_reply(client_id), TOPICS, client_id=client_id)


@pytest.mark.parametrize(
    "topic", ["gpumon/w1/cmd", "gpumon/all/cmd", "gpumon/join/c1", "gpumon/join/c1/reply", "gpumon/audit"]
)
def test_commands_joining_and_the_audit_are_never_retained(topic: str) -> None:
    assert is_never_retained(topic, TOPICS)
    assert not is_never_retained(topic.replace("gpumon", "lab"), TOPICS)


def test_another_discovery_prefix_is_opened_in_place_of_the_usual_one() -> None:
    topics = Topics("gpumon", "ha")
    worker, viewer = Principal("w1", Role.WORKER), Principal("eye", Role.VIEWER)
    assert may_publish(worker, "ha/device/gpumon_w1/config", topics)
    assert not may_publish(worker, "homeassistant/device/gpumon_w1/config", topics)
    assert may_read(viewer, "ha/#", topics)
    assert not may_read(viewer, "homeassistant/#", topics)


def test_a_discovery_prefix_that_is_the_base_opens_nothing_that_is_hidden() -> None:
    viewer = Principal("eye", Role.VIEWER)
    for hidden in ("gpumon/join/x/reply", "gpumon/join/#", "gpumon/audit"):
        assert not may_read(viewer, hidden, Topics("gpumon", "gpumon"))
