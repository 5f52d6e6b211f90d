"""What is really said over MQTT is what docs/asyncapi.yaml says: every channel is heard, and each message is valid."""

from __future__ import annotations

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from gpumon.joining import parse_join_line
from tests.end_to_end.listener import Heard, listening
from tests.end_to_end.running import an_agent, gpumon_up, online
from tests.support import eventually

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text())
ADDRESSES = {
    name: re.compile(re.sub(r"\{[a-z]+\}", "[^/]+", channel["address"]))
    for name, channel in DOCUMENT["channels"].items()
}
# A topic without a parameter stands before those that fit it too: `gpumon/all/cmd` before `gpumon/{worker}/cmd`.
ORDER = sorted(ADDRESSES, key=lambda name: DOCUMENT["channels"][name]["address"].count("{"))
RULES = """
[alerts.rules.warm]
kind = "temperature"
above = "1 °C"
for_s = 0
"""


def channel_of(topic: str) -> str | None:
    """Return the document's channel that a topic is."""
    return next((name for name in ORDER if ADDRESSES[name].fullmatch(topic)), None)


def problems(channel: str, payload: bytes) -> list[str]:
    """Return why a payload is none of the channel's messages; nothing where it is one."""
    found = []
    for name in DOCUMENT["channels"][channel]["messages"]:
        message = DOCUMENT["components"]["messages"][name]
        schema = {**message["payload"], "components": DOCUMENT["components"]}
        is_text = message["contentType"] == "text/plain"
        value = payload.decode() if is_text else _json(payload)
        wrong = jsonschema.Draft7Validator(schema).iter_errors(value)
        first = next(wrong, None)
        if first is None:
            return []
        found.append(f"{channel}: no {name}: {first.json_path}: {first.message}"[:500])
    return found


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


@pytest.fixture(scope="module")
def conversation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Heard], list[Heard]]]:
    """What is heard on a broker from the start of a fleet on, and what somebody hears who comes later as retained."""
    folder = tmp_path_factory.mktemp("asyncapi")
    (folder / "data").mkdir(mode=0o700)
    (folder / "data" / "gpumon.toml").write_text(RULES)
    with ExitStack() as stack:
        running = stack.enter_context(gpumon_up(folder, more={"LD_LIBRARY_PATH": "/nonexistent"}))
        account = (running.mqtt_port, "admin", running.admin_password)
        everything = stack.enter_context(listening(*account, "gpumon/#", "homeassistant/#"))
        everything.publish("homeassistant/status", "online")
        flags = ("--source", "simulated", "--interval", "0.5", "--home-assistant")
        with an_agent(running, "w1", *flags):
            eventually(lambda: online(running, ["w1"]), 40)
            everything.publish("gpumon/w1/cmd", '{"id":"long-1","command":"echo begun; sleep 60","by":"test"}')
            eventually(lambda: everything.on("gpumon/w1/cmd/output"), 20)
            everything.publish("gpumon/w1/cmd", '{"id":"long-1","cancel":true}')
            everything.publish("gpumon/w1/cmd", "echo as text")
            everything.publish("gpumon/all/cmd", "echo to all; echo of both kinds >&2; exit 3")
            everything.publish("gpumon/w1/cmd", '{"command": false}')  # refused, which is an event
            eventually(lambda: everything.on("gpumon/w1/event"), 20)
            eventually(lambda: everything.on("gpumon/w1/alert/warm"), 40)
            eventually(lambda: len(everything.on("gpumon/w1/cmd/result")) >= 4, 30)
            key = parse_join_line(running.gpumon("join-key", "--worker-id", "w2").stdout.split()[-1]).key
            stranger = f"stranger-{secrets.token_hex(4)}"
            request = json.dumps({"worker_id": "w2", "hostname": "w2.lab", "key": key})
            everything.publish(f"gpumon/join/{stranger}", request)
            eventually(lambda: everything.on(f"gpumon/join/{stranger}/reply"), 20)
            with listening(*account, "gpumon/#", "homeassistant/#") as later:
                eventually(lambda: {"info", "metrics", "discovery"} <= {channel_of(each.topic) for each in later.heard})
                eventually(
                    lambda: any(each.topic == "gpumon/w1/metrics" and not each.is_retained for each in later.heard)
                )
                came_later = list(later.heard)
        eventually(lambda: everything.on("gpumon/w1/status")[-1:] == [b"offline"], 20)
        yield list(everything.heard), came_later


def test_every_channel_is_heard_and_no_other_topic(conversation: tuple[list[Heard], list[Heard]]) -> None:
    topics = defaultdict(set)
    for message in conversation[0]:
        topics[channel_of(message.topic)].add(message.topic)
    assert topics.pop(None, set()) == set()
    assert set(topics) == set(DOCUMENT["channels"])


def test_every_message_is_valid(conversation: tuple[list[Heard], list[Heard]]) -> None:
    refused = b'{"command": false}'  # by the test, on purpose
    wrong = [
        problem
        for message in conversation[0]
        if message.payload and message.payload != refused
        for problem in problems(channel_of(message.topic) or "", message.payload)
    ]
    assert wrong == []
    assert problems("command", refused)[0].startswith("command: no command: $.command")


def test_each_is_sent_at_the_documented_qos(conversation: tuple[list[Heard], list[Heard]]) -> None:
    said = defaultdict(set)
    for message in conversation[0]:
        said[channel_of(message.topic)].add(message.qos)
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"].rpartition("/")[2]
        assert said[channel] == {operation["bindings"]["mqtt"]["qos"]}, channel


def test_who_comes_later_hears_what_is_documented_as_retained(conversation: tuple[list[Heard], list[Heard]]) -> None:
    retained = {channel_of(message.topic) for message in conversation[1] if message.is_retained}
    documented = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        if operation["bindings"]["mqtt"]["retain"]
    }
    assert retained == documented


def test_a_message_that_is_not_as_documented_is_found(conversation: tuple[list[Heard], list[Heard]]) -> None:
    sample = json.loads(next(message.payload for message in conversation[0] if channel_of(message.topic) == "metrics"))
    del sample["gpus"][0]["fan_percent"]  # left out, and not null
    assert "fan_percent" in problems("metrics", json.dumps(sample).encode())[0]
