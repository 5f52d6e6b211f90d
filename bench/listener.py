"""Listens to what a worker publishes, to be certain that an agent whose cost is measured does its work."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.errors import BenchmarkError
from gpumon.messages import Decoder, Metrics

TIMEOUT_S = 10.0


class Listener:
    """Collects the samples of all workers, with the broker's own account for the master."""

    def __init__(self, port: int, secret: str) -> None:
        self.samples: list[Metrics] = []
        self._port = port
        self._decoder = Decoder(Metrics)
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("master", secret)
        self._client.on_connect = lambda client, *_: client.subscribe("gpumon/+/metrics")
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._arrived

    def __enter__(self) -> Listener:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not self._ready.wait(TIMEOUT_S):
            raise BenchmarkError(f"the broker did not let the listener subscribe within {TIMEOUT_S} s")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _arrived(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.samples.append(self._decoder.decode(bytes(message.payload)))
