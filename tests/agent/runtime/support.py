"""A worker to test, and somebody who listens to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.command_conditions import CommandConditions
from agent.command_rules import command_environment
from agent.identity import identity
from agent.machine import this_machine
from agent.node import WorkerNode
from agent.samplers.base import Inventory, Readings, Sampler
from agent.samplers.simulated import SimulatedSampler
from agent.simulation.models import PROFILES
from gpumon.address import BrokerAddress
from gpumon.commands import CommandOutput, CommandResult
from gpumon.link import InboundMessage, MqttLink
from gpumon.messages import Decoder, Event, GpuInventory, GpuReading, Info, Metrics
from gpumon.settings import AgentSettings
from gpumon.topics import Topics
from tests.support import eventually

WORKER = "w1"
SECRET_VARIABLES = {"GPUMON_X": "secret", "MASTER_URL": "m", "WORKER_ID": "w"}


def address(port: int) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", port, tls=False)


class PresentCards:
    """Takes the cards that answer for all there are."""

    def inventory(self) -> list[GpuInventory]:
        return []

    def complete(self, _inventory: Inventory, readings: Readings) -> tuple[list[GpuReading], list[Event]]:
        return list(readings.gpus), []


def make_node(
    port: int,
    folder: Path,
    *,
    sampler: Sampler | None = None,
    hang_after_s: float | None = None,
    extensions: Any = (),
    conditions: CommandConditions | None = None,
    **settings: Any,
) -> WorkerNode:
    who = identity(folder, WORKER, None)
    settings.setdefault("interval_s", 0.2)
    return WorkerNode(
        who,
        address(port),
        Topics(),
        AgentSettings(**settings),
        sampler=sampler or SimulatedSampler(WORKER, PROFILES[0]),
        cards=PresentCards(),
        host=lambda: None,
        machine=this_machine(),
        conditions=conditions or CommandConditions(command_environment({**os.environ, **SECRET_VARIABLES})),
        hang_after_s=hang_after_s,
        extensions=extensions,
    )


@contextlib.contextmanager
def running(node: WorkerNode) -> Iterator[WorkerNode]:
    node.start()
    try:
        eventually(lambda: node._link.is_listening)  # a command that is sent now reaches it
        yield node
    finally:
        node.stop()


class Observer:
    """Hears everything, and sends commands as an operator does."""

    def __init__(self, port: int, worker: str = WORKER) -> None:
        self.worker = worker
        self.messages: list[InboundMessage] = []
        self.link = MqttLink(address(port), "observer")
        self.link.subscribe("gpumon/#", 1, self.messages.append)

    def __enter__(self) -> Observer:
        self.link.start()
        eventually(lambda: self.link.is_listening)
        return self

    def __exit__(self, *_: object) -> None:
        self.link.stop(1.0)

    def payloads(self, channel: str) -> list[bytes]:
        return [
            message.payload for message in list(self.messages) if message.topic == f"gpumon/{self.worker}/{channel}"
        ]

    def metrics(self) -> list[Metrics]:
        return [_METRICS.decode(payload) for payload in self.payloads("metrics")]

    def infos(self) -> list[Info]:
        return [_INFO.decode(payload) for payload in self.payloads("info")]

    def events(self, kind: str) -> list[Event]:
        return [event for event in map(_EVENT.decode, self.payloads("event")) if event.kind == kind]

    def statuses(self) -> list[bytes]:
        return self.payloads("status")

    def results(self, command_id: str | None = None) -> list[CommandResult]:
        results = map(_RESULT.decode, self.payloads("cmd/result"))
        return [result for result in results if command_id in (None, result.id)]

    def outputs(self, command_id: str) -> list[CommandOutput]:
        outputs = map(_OUTPUT.decode, self.payloads("cmd/output"))
        return [output for output in outputs if output.id == command_id]

    def send(self, payload: bytes | dict[str, Any], to: str = "", *, retain: bool = False) -> None:
        encoded = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        self.link.publish(f"gpumon/{to or self.worker}/cmd", encoded, qos=1, retain=retain)

    def result_of(self, command_id: str, timeout_s: float = 15.0) -> CommandResult:
        return eventually(lambda: self.results(command_id), timeout_s)[0]

    def run(self, command: str, command_id: str, **fields: Any) -> CommandResult:
        self.send({"id": command_id, "command": command, **fields})
        return self.result_of(command_id)


_METRICS, _INFO, _EVENT = Decoder(Metrics), Decoder(Info), Decoder(Event)
_RESULT, _OUTPUT = Decoder(CommandResult), Decoder(CommandOutput)
