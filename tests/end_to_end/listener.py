"""Somebody who hears everything on a broker, and may publish."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support import eventually


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as it came."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool


@dataclass
class Listener:
    """A paho client that keeps all that it hears."""

    paho: paho.Client
    heard: list[Heard] = field(default_factory=list)

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1, and wait until the broker has it."""
        self.paho.publish(topic, payload, 1, retain).wait_for_publish(20)

    def on(self, topic: str) -> list[bytes]:
        """Return the payloads that have come on a topic."""
        return [message.payload for message in list(self.heard) if message.topic == topic]


@contextlib.contextmanager
def listening(port: int, user: str, password: str, *filters: str) -> Iterator[Listener]:
    """Log in and subscribe at QoS 1; the subscriptions are answered when the block begins."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    listener = Listener(client)
    answered: list[int] = []
    client.username_pw_set(user, password)

    def connected(*_: Any) -> None:
        client.subscribe([(each, 1) for each in filters])

    client.on_connect = connected
    client.on_subscribe = lambda _c, _u, _m, codes, _p: answered.extend(int(code.value) for code in codes)
    client.on_message = lambda _c, _u, message: listener.heard.append(
        Heard(message.topic, bytes(message.payload), message.qos, bool(message.retain))
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        eventually(lambda: len(answered) == len(filters), 20)
        assert max(answered) < 0x80
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()
