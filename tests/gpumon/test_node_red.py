"""config/node-red/gpumon.json: its parts fit together, on gpumon's topics, and its functions do what they say."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from gpumon.commands import Command, parse_command
from tests.support import program_or_skip

ROOT = Path(__file__).resolve().parents[2]
FLOW: list[dict[str, Any]] = json.loads((ROOT / "config" / "node-red" / "gpumon.json").read_text())
NODES = {node["id"]: node for node in FLOW}
CHANNELS = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())["channels"]
ADDRESSES = {re.sub(r"\{[a-z]+\}", "+", channel["address"]) for channel in CHANNELS.values()}
# Which properties name another node.
LEADS = {"z", "broker", "ui", "page", "theme", "group"}


def of_type(kind: str) -> list[dict[str, Any]]:
    return [node for node in FLOW if node["type"] == kind]


def test_every_wire_and_every_reference_leads_to_a_node() -> None:
    assert len(NODES) == len(FLOW)
    for node in FLOW:
        named = {node[key] for key in LEADS & set(node) if node[key]} - {"127.0.0.1"}
        wired = {target for output in node.get("wires", []) for target in output}
        assert named | wired <= set(NODES), node["id"]
    assert {node["type"] for node in FLOW} >= {"ui-gauge", "ui-notification", "ui-button", "mqtt in", "mqtt out"}


def test_it_reads_gpumons_topics_as_documented() -> None:
    assert {node["topic"] for node in of_type("mqtt in")} <= ADDRESSES


def test_it_never_retains_a_command_and_speaks_mqtt_3_1_1() -> None:
    assert [(node["qos"], node["retain"]) for node in of_type("mqtt out")] == [("1", "false")]
    (broker,) = of_type("mqtt-broker")
    assert (broker["protocolVersion"], broker["cleansession"]) == ("4", True)


def test_it_holds_no_account() -> None:
    assert not any("credentials" in node or "password" in node for node in FLOW)


def run(name: str, *messages: dict[str, Any]) -> Ran:
    """Run one of the flow's functions on messages as Node-RED does; return what it gives for each."""
    (function,) = [node for node in of_type("function") if node["name"] == name]
    (tab,) = of_type("tab")
    environment = {item["name"]: item["value"] for item in tab["env"]}
    script = """
        const [code, environment, messages] = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const kept = () => { const m = new Map(); return { get: k => m.get(k), set: (k, v) => m.set(k, v) }; };
        const flow = kept(), context = kept(), env = { get: name => environment[name] };
        const body = new Function("msg", "flow", "context", "env", code);
        for (const [key, value] of Object.entries(messages[0].kept || {})) flow.set(key, value);
        if (messages[0].kept) messages.shift();
        const given = messages.map(msg => body(msg, flow, context, env) ?? null);
        console.log(JSON.stringify([given, flow.get("cards") ?? null]));
    """
    said = subprocess.run(
        [program_or_skip("node", "nodejs"), "-e", script],
        input=json.dumps([function["func"], environment, messages]),
        capture_output=True,
        text=True,
        check=True,
    )
    given, kept = json.loads(said.stdout)
    return Ran(given, kept)


class Ran(list[Any]):
    """What a function has given for each message, and which cards it has kept."""

    def __init__(self, given: list[Any], cards: Any) -> None:
        super().__init__(given)
        self.cards = cards


def sample(worker: str, *celsius: int | None) -> dict[str, Any]:
    gpus = [
        {"uuid": f"GPU-{worker}-{index}", "index": index, "name": "NVIDIA H200", "temperature_c": value}
        for index, value in enumerate(celsius)
    ]
    return {"topic": f"gpumon/{worker}/metrics", "payload": {"gpus": gpus}}


def test_the_gauge_shows_the_hottest_card_of_all_workers() -> None:
    given = run("hottest card", sample("w1", 40, 61), sample("w2", 50), sample("w1", 40, None), sample("w3", None))
    assert [gauge["payload"] for gauge, _ in given] == [61, 61, 50, 50]
    (nothing,) = run("hottest card", sample("w1", None))
    assert nothing == [None, []]


def test_a_hot_card_is_told_once_and_again_when_it_has_cooled_down() -> None:
    given = run("hottest card", *(sample("w1", celsius) for celsius in (60, 90, 84, None, 86, 79, 79)))
    assert [[told["payload"] for told in all_told] for _, all_told in given] == [
        [],
        ["w1: GPU 0 (NVIDIA H200) is at 90 °C"],
        *([], [], []),
        ["w1: GPU 0 (NVIDIA H200) has cooled down to 79 °C"],
        [],
    ]


def test_the_button_sends_a_command_that_agents_take() -> None:
    (button,) = of_type("ui-button")
    (given,) = run("command object", {"payload": button["payload"]})
    command = parse_command(json.dumps(given["payload"]).encode())
    assert given["topic"] == "gpumon/w1/cmd"
    assert isinstance(command, Command)
    assert (command.command, command.by) == ("nvidia-smi -L", "Node-RED")


@pytest.mark.parametrize(("asked", "is_shown"), [("node-red-1", True), ("node-red-2", False)])
def test_only_the_answer_to_the_button_is_shown(asked: str, is_shown: bool) -> None:
    result = {
        "id": "node-red-1",
        "command": "ls",
        "state": "finished",
        "exit_code": 0,
        "output": "a\n",
        "problem": None,
    }
    (given,) = run(
        "only what was asked here", {"kept": {"asked": asked}}, {"topic": "gpumon/w1/cmd/result", "payload": result}
    )
    assert given == ({"payload": "w1: ls (exit code 0)\na\n"} if is_shown else None)


def test_a_worker_is_told_of_when_it_goes_and_not_when_node_red_starts() -> None:
    said = [{"topic": "gpumon/w1/status", "payload": status} for status in ("online", "online", "offline")]
    assert run("what has changed", *said) == [None, None, {"payload": "w1 is offline"}]


def test_the_gauge_forgets_the_cards_of_a_worker_that_has_gone() -> None:
    kept = {"cards": {"GPU-1": {"worker": "w1"}, "GPU-2": {"worker": "w2"}}}
    gone = run("what has changed", {"kept": kept}, {"topic": "gpumon/w1/status", "payload": "offline"})
    assert gone.cards == {"GPU-2": {"worker": "w2"}}
