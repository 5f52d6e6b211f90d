"""A client of the broker's probe: as any other, but that it can also die, fall silent, and speak MQTT 5."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gpumon.address import BrokerAddress
from gpumon.errors import GpumonError
from gpumon.link import Credentials
from gpumon.link_problems import ended_without_an_answer, why_not_connected

T = TypeVar("T")

MQTT_3_1_1 = MQTTProtocolVersion.MQTTv311
MQTT_5 = MQTTProtocolVersion.MQTTv5
KEEPALIVE_S = 30
REFUSED = 0x80  # and above: MQTT 3.1.1 section 3.9.3, MQTT 5 section 2.4


class ProbeError(GpumonError):
    """The broker did not do what a check takes for granted, so that the check could not be made."""

    see = "foreign-broker.md#other-brokers"


class NotLetInError(ProbeError):
    """The broker has not let a client in; `is_answered`: it has said so."""

    def __init__(self, problem: str, *, is_answered: bool) -> None:
        super().__init__(problem)
        self.is_answered = is_answered


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as a client of the probe got it."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker is to publish (QoS 1) when a client dies."""

    topic: str
    payload: bytes
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach the broker, and for how many seconds to wait for each of its answers."""

    address: BrokerAddress
    credentials: Credentials | None
    cafile: Path | None
    patience_s: float


class ProbeClient:
    """Connects when the block begins, and says goodbye when it ends; it never connects again by itself.

    Raises NotLetInError: by beginning the block.
    """

    def __init__(
        self,
        way: Way,
        client_id: str | None = None,
        *,
        will: LastWill | None = None,
        version: MQTTProtocolVersion = MQTT_3_1_1,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        self.properties: Properties | None = None
        self.has_old_session = False
        self._way = way
        self._will = will
        self._keepalive_s = keepalive_s
        self._client_id = client_id or f"gpumon-{secrets.token_hex(8)}"
        self._version = version
        self._heard: list[Heard] = []
        self._answers: dict[int | None, list[ReasonCode]] = {}
        self._refusal: str | None = None
        self._is_in = self._has_ended = False
        self._silent_since = 0.0
        self._news = threading.Condition()
        self._paho = self._new_paho()

    def __enter__(self) -> ProbeClient:
        address, patience_s = self._way.address, self._way.patience_s
        try:
            if address.tls:
                cafile = self._way.cafile
                self._paho.tls_set_context(ssl.create_default_context(cafile=str(cafile) if cafile else None))
            self._paho.connect(address.host, address.port, self._keepalive_s)
        except (OSError, ssl.SSLError) as error:
            problem = why_not_connected(error, address, self._way.cafile)
            raise NotLetInError(problem, is_answered=False) from error
        self._paho.loop_start()
        self._wait(lambda: self._is_in or self._refusal or self._has_ended, patience_s)
        if not self._is_in:
            self.close()
            if self._refusal:
                raise NotLetInError(self._refusal, is_answered=True)
            silent = f"no answer within {patience_s:g} s"
            raise NotLetInError(ended_without_an_answer(address) if self._has_ended else silent, is_answered=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def subscribe(self, topic_filter: str) -> int:
        """Ask for messages at QoS 1; return the QoS granted, or `REFUSED` and above.

        Raises ProbeError: when the broker does not answer.
        """
        _, message_id = self._paho.subscribe(topic_filter, 1)
        return self._answer_to(message_id, f"to the subscription to {topic_filter}")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish at QoS 1; return the broker's answer, which is `REFUSED` and above with MQTT 5 alone.

        Raises ProbeError: when the broker does not acknowledge it.
        """
        info = self._paho.publish(topic, payload, 1, retain)
        return self._answer_to(info.mid, f"to a message of {len(payload)} bytes")

    def publish_all(self, topic: str, payloads: list[bytes]) -> None:
        """Publish many at QoS 1, without waiting for an answer to each."""
        for payload in payloads:
            self._paho.publish(topic, payload, 1)

    def hear(self, matches: Callable[[Heard], bool], within_s: float | None = None) -> Heard | None:
        """Return the first message that matches, come or to come; None where none does in time."""
        return self._wait(lambda: next(filter(matches, self._heard), None), within_s)

    def hear_many(self, number: int, within_s: float | None = None) -> list[Heard]:
        """Wait until so many messages have come; return all that have, in their order."""
        self._wait(lambda: len(self._heard) >= number, within_s)
        with self._news:
            return list(self._heard)

    def ends(self, within_s: float | None = None) -> bool:
        """Wait until the broker ends the connection; tell whether it does in time."""
        return bool(self._wait(lambda: self._has_ended, within_s))

    def die(self) -> None:
        """End the connection without a word, as a machine does that falls over."""
        with contextlib.suppress(OSError):
            self._socket().shutdown(socket.SHUT_RDWR)

    def fall_silent(self) -> None:
        """Keep the connection, and neither send nor read any more (no ping either)."""
        self._paho.loop_stop()
        self._silent_since = time.monotonic()

    def is_put_out(self, within_s: float) -> bool:
        """Tell whether the broker ends the connection within so many seconds of silence; waits for that at most."""
        try:
            connection = self._socket()
            connection.settimeout(max(0.1, self._silent_since + within_s - time.monotonic()))
            while connection.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Say goodbye, so that the will is discarded."""
        self._paho.disconnect()
        self._paho.loop_stop()

    def _socket(self) -> socket.socket:
        """Return the connection. Raises OSError: where there is none any more."""
        connection = self._paho.socket()
        if connection is None:
            raise ConnectionError("the connection has ended")
        return cast("socket.socket", connection)

    def _new_paho(self) -> paho.Client:
        options: dict[str, Any] = {} if self._version == MQTT_5 else {"clean_session": True}
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=self._version,
            reconnect_on_failure=False,
            **options,
        )
        client.connect_timeout = self._way.patience_s
        if self._way.credentials is not None:
            client.username_pw_set(self._way.credentials.username, self._way.credentials.password)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, 1, self._will.is_retained)
        client.on_connect = self._connect_answered
        client.on_disconnect = self._ended
        client.on_message = self._message_came
        client.on_subscribe = lambda _c, _u, message_id, codes, _p: self._answered(message_id, codes)
        client.on_publish = lambda _c, _u, message_id, code, _p: self._answered(message_id, [code])
        return client

    def _answer_to(self, message_id: int | None, what: str) -> int:
        self._wait(lambda: message_id in self._answers or self._has_ended)
        codes = self._answers.get(message_id)
        if codes:
            return int(codes[0].value)
        how = "ended the connection in answer" if self._has_ended else "gave no answer"
        raise ProbeError(f"the broker {how} {what}")

    def _wait(self, condition: Callable[[], T], within_s: float | None = None) -> T:
        with self._news:
            return self._news.wait_for(condition, self._way.patience_s if within_s is None else within_s)

    def _answered(self, message_id: int, codes: list[ReasonCode]) -> None:
        with self._news:
            self._answers[message_id] = codes
            self._news.notify_all()

    def _connect_answered(
        self, _c: Any, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._news:
            self._refusal = reason.getName() if reason.is_failure else None
            self._is_in = not reason.is_failure
            self.has_old_session = flags.session_present
            self.properties = properties
            self._news.notify_all()

    def _ended(self, *_: Any) -> None:
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    def _message_came(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        heard = Heard(message.topic, bytes(message.payload), message.qos, bool(message.retain))
        with self._news:
            self._heard.append(heard)
            self._news.notify_all()
