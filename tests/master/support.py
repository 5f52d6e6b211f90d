"""What the master's tests need: a real master on a real broker, payloads, and a client that publishes them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.roles import Principal, Role
from gpumon.settings import Settings
from master.commands import Caller
from master.master import Master
from tests.support import eventually

RESEARCH = Caller(Principal("research", Role.OPERATOR), "page", "192.0.2.7")


def sample(seq: int = 0, at: float | None = None, **changes: Any) -> dict[str, Any]:
    """A metrics payload as an agent would send it now."""
    return {
        "v": 1,
        "time": time.time() if at is None else at,
        "seq": seq,
        "interval_s": 5.0,
        "source": "simulated",
        "health": "ok",
        "problem": None,
        "gpus": [gpu()],
        "host": {"cpu_percent": 12.5},
    } | changes


def gpu(index: int = 0, **changes: Any) -> dict[str, Any]:
    """One card of a sample."""
    return {
        "uuid": f"GPU-{index}",
        "index": index,
        "name": "NVIDIA H200",
        "state": "ok",
        "temperature_c": 41,
        "utilization_percent": 0,
        "power_w": 612.4,
    } | changes


def info(**changes: Any) -> dict[str, Any]:
    """An inventory payload."""
    return {
        "v": 1,
        "hostname": "gpu1.lab",
        "agent_version": "0.1.0",
        "source": "simulated",
        "interval_s": 5.0,
        "gpus": [{"uuid": "GPU-0", "index": 0, "name": "NVIDIA H200"}],
        "labels": {"rack": "3"},
    } | changes


def result(command_id: str, command: str = "ls", **changes: Any) -> dict[str, Any]:
    """A result payload of a command that has succeeded."""
    return {"id": command_id, "command": command, "state": "finished", "exit_code": 0, "duration_s": 0.2} | changes


def output(command_id: str, seq: int, data: str, stream: str = "stdout") -> dict[str, Any]:
    """An output payload."""
    return {"id": command_id, "seq": seq, "stream": stream, "data": data}


class Publisher:
    """A plain MQTT client, as agents and operators are."""

    def __init__(self, port: int) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, message: self.received.append((message.topic, bytes(message.payload)))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        eventually(self._client.is_connected)

    def publish(self, topic: str, payload: Any, *, retain: bool = False) -> None:
        """Publish (QoS 1) text or bytes as they are, anything else as JSON, and wait until the broker has it."""
        data = payload if isinstance(payload, (bytes, str)) else msgspec.json.encode(payload)
        self._client.publish(topic, data, qos=1, retain=retain).wait_for_publish(10)

    def hear(self, topic_filter: str) -> None:
        """Subscribe, and wait until that is confirmed; what comes is in `received`."""
        confirmed = threading.Event()
        self._client.on_subscribe = lambda *_: confirmed.set()
        self._client.subscribe(topic_filter, 1)
        assert confirmed.wait(10)

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


def new_master(folder: Path | DataFolder, port: int, settings: Settings | None = None) -> Master:
    """A master on this data folder and this broker, not started."""
    data = folder if isinstance(folder, DataFolder) else DataFolder(folder)
    return Master(settings or Settings(), data, BrokerAddress("127.0.0.1", port, tls=False), None)


@contextlib.contextmanager
def running_master(folder: Path | DataFolder, port: int, settings: Settings | None = None) -> Iterator[Master]:
    """A master that is connected."""
    master = new_master(folder, port, settings)
    master.start()
    try:
        eventually(lambda: master.is_listening)
        yield master
    finally:
        master.stop()
