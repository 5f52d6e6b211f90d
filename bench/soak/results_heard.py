"""Hears every command's result on the broker, also after that was killed."""

from __future__ import annotations

import threading
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

RETRY_S = 1


class ResultsHeard:
    """The distinct results of each command; a result that is only delivered again (QoS 1) is the same."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._results: dict[str, set[bytes]] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set("master", secret)
        self._client.reconnect_delay_set(RETRY_S, RETRY_S)
        self._client.on_connect = lambda client, *_: client.subscribe("gpumon/+/cmd/result", 1)
        self._client.on_message = self._heard

    def start(self) -> None:
        """Begin to listen. Raises OSError: where there is no broker."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()

    def stop(self) -> None:
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def most_for_one(self) -> int:
        """How many different results the worst command had."""
        with self._lock:
            return max(map(len, self._results.values()), default=0)

    def _heard(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        command_id = bytes(message.payload).partition(b'"id":"')[2].partition(b'"')[0].decode()
        with self._lock:
            self._results.setdefault(command_id, set()).add(bytes(message.payload))
