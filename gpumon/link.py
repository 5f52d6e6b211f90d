"""The MQTT link that agents, masters and `gpumon run` share: paho-mqtt with the habits that gpumon needs.

It connects in its own thread and keeps trying (exponential backoff with jitter, so that a thousand agents do not come
back in step), subscribes again on every connect, says why it is not connected in one line, and never lets a handler's
mistake end the thread.
"""

from __future__ import annotations

import logging
import random
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gpumon.address import BrokerAddress
from gpumon.errors import SettingError
from gpumon.files import check_trusted_file
from gpumon.link_problems import ended_without_an_answer, why_not_connected
from gpumon.log import OncePer

logger = logging.getLogger(__name__)

KEEPALIVE_S = 30
FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 30.0
CONNECT_TIMEOUT_S = 10.0
MAX_QUEUED_MESSAGES = 10_000
_LOOK_S = 0.01

# MQTT 3.1.1 section 3.2.2.3, table 3.1, as paho's MQTT 5 reason codes name them.
_REFUSED_LOGIN = frozenset({"Bad user name or password", "Not authorized"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in to the broker."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message as it came from the broker."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes (QoS 1, retained) when this connection dies."""

    topic: str
    payload: bytes


MessageHandler = Callable[[InboundMessage], None]


class Delivery:
    """A message of QoS 1 on its way: it waits for the connection, goes out, and is done when the broker has it."""

    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info
        if info.rc == paho.MQTT_ERR_NO_CONN:  # paho keeps it for the next connection all the same
            info.rc = paho.MQTT_ERR_SUCCESS

    @property
    def is_dropped(self) -> bool:
        """Whether the message will never be sent, since too many wait already."""
        return self._info.rc != paho.MQTT_ERR_SUCCESS

    @property
    def is_acknowledged(self) -> bool:
        """Whether the broker has taken responsibility for the message (MQTT 3.1.1 section 4.3.2)."""
        return not self.is_dropped and self._info.is_published()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the broker has the message; False where it has not within `timeout_s`."""
        if not self.is_dropped:
            self._info.wait_for_publish(timeout_s)
        return self.is_acknowledged


class MqttLink:
    """A connection to the broker that stays, or comes back.

    While it is not there, `problem` says why; `is_refused` that the broker has answered and does not let it in, and
    `is_login_refused` that this is for its name or secret. `refused_filters` are those that it may not subscribe to.

    Constructing it does nothing; `start()` begins connecting in the background and `stop()` says goodbye properly.
    Handlers and `on_connected` callbacks run in the link's own thread and must not block.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        credentials: Credentials | None = None,
        cafile: Path | None = None,
        will: Will | None = None,
    ) -> None:
        self.address = address
        self.problem: str | None = "not connected yet"
        self.is_refused = False
        self.is_login_refused = False
        self.refused_filters: set[str] = set()
        self._credentials = credentials
        self._cafile = cafile
        self._will = will
        self._subscriptions: list[tuple[str, int]] = []
        self._subscribed: dict[int, list[str]] = {}
        self._last_delivery: Delivery | None = None
        self._on_connected: list[Callable[[], None]] = []
        self._connected = threading.Event()
        self._subscribing = threading.Lock()
        self._sending = threading.Lock()
        self._stopping = False
        self._was_answered = False
        self._attempts = 0
        self._due = OncePer(60.0)
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=paho.MQTTv311,
        )

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted this connection and it has not ended since."""
        return self._connected.is_set()

    @property
    def is_listening(self) -> bool:
        """Whether the broker has answered every subscription of this connection: nothing is missed from now on."""
        with self._subscribing:
            return self.is_connected and not self._subscribed

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker has accepted the connection; False where it did not within `timeout_s`."""
        return self._connected.wait(timeout_s)

    def wait_listening(self, timeout_s: float) -> bool:
        """Wait until every subscription is answered; False where the broker refuses the log-in, or takes longer."""
        deadline = time.monotonic() + timeout_s
        while not self.is_listening:
            if self.is_refused or time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def subscribe(self, topic_filter: str, qos: int, handler: MessageHandler) -> None:
        """Hand messages that match `topic_filter` to `handler`, on this and every later connection."""
        self.handle(topic_filter, handler)
        self.ask_for(topic_filter, qos)

    def handle(self, topic_filter: str, handler: MessageHandler) -> None:
        """Hand messages that match `topic_filter` to `handler`, by whichever subscription they come."""

        def received(_client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
            inbound = InboundMessage(topic=message.topic, payload=bytes(message.payload), retained=message.retain)
            self._guarded(lambda: handler(inbound))

        self._client.message_callback_add(topic_filter, received)

    def ask_for(self, subscribed: str, qos: int) -> None:
        """Subscribe, on this and every later connection; what is retained comes again where this was subscribed to.

        `subscribed` is a filter, or `$share/GROUP/FILTER`, of which each message comes to one of the group's clients
        (MQTT 5 section 4.8.2; several brokers take it from clients of MQTT 3.1.1, too).
        """
        with self._subscribing:
            if (subscribed, qos) not in self._subscriptions:
                self._subscriptions.append((subscribed, qos))
            if self.is_connected:
                self._send_subscriptions([(subscribed, qos)])

    def ask_no_more_for(self, subscribed: str) -> None:
        """Take a subscription back; nothing happens where there is none."""
        with self._subscribing:
            kept = [(other, qos) for other, qos in self._subscriptions if other != subscribed]
            was_there = len(kept) != len(self._subscriptions)
            self._subscriptions[:] = kept
            if was_there and self.is_connected:
                self._client.unsubscribe(subscribed)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Call `callback` after every successful connect, once the subscriptions have been sent."""
        self._on_connected.append(callback)

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """Send a message; one of QoS 1 waits for the connection to come back, one of QoS 0 is dropped without it.

        Returns False where the message was dropped.
        """
        if qos > 0:
            return not self.deliver(topic, payload, retain=retain).is_dropped
        if not self.is_connected:  # paho would send it before the log-in is answered
            return False
        return self._client.publish(topic, payload, qos=0, retain=retain).rc == paho.MQTT_ERR_SUCCESS

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> Delivery:
        """Send a message of QoS 1, now or when the connection comes back, and return how to see when it has arrived."""
        with self._sending:
            delivery = Delivery(self._client.publish(topic, payload, qos=1, retain=retain))
            if not delivery.is_dropped:
                self._last_delivery = delivery
        return delivery

    def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged the last message of QoS 1, and so those before it."""
        with self._sending:
            last = self._last_delivery
        return last is None or last.wait(timeout_s)

    def log_in_with(self, credentials: Credentials) -> None:
        """Show these from the next connect on."""
        self._credentials = credentials
        self.is_refused = self.is_login_refused = False
        self._client.username_pw_set(credentials.username, credentials.password)

    def start(self) -> None:
        """Begin connecting in the background.

        Raises SettingError: when the CA file cannot be used.
        """
        client = self._client
        client.on_connect = self._connect_answered
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscription_answered
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(MAX_QUEUED_MESSAGES)
        if self._credentials is not None:
            self.log_in_with(self._credentials)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        if self.address.tls:
            client.tls_set_context(self._tls_context())
        client.connect_async(self.address.host, self.address.port, keepalive=KEEPALIVE_S)
        client.loop_start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Send what is queued, disconnect so that the broker discards the will, and end the thread.

        Takes `timeout_s` at most: a thread that hangs in connecting to an address that does not answer is left behind.
        """
        deadline = time.monotonic() + timeout_s
        self._stopping = True
        if self.is_connected:
            self.flush(timeout_s)
        self._client.disconnect()
        ending = threading.Thread(target=self._client.loop_stop, name="mqtt-stop", daemon=True)
        ending.start()
        ending.join(max(deadline - time.monotonic(), 0.2))
        self._connected.clear()

    def _tls_context(self) -> ssl.SSLContext:
        if self._cafile is not None:
            check_trusted_file(self._cafile)
        try:
            return ssl.create_default_context(cafile=str(self._cafile) if self._cafile else None)
        except (OSError, ssl.SSLError) as error:
            raise SettingError(f"CA file {self._cafile} cannot be used: {error}") from error

    def _connect_answered(
        self,
        _client: Any,
        _userdata: Any,
        _flags: Any,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._was_answered = True
        if reason.is_failure:
            name = reason.getName()
            user = self._credentials.username if self._credentials else "(none)"
            hint = f"user {user!r} or its token is not known there" if name in _REFUSED_LOGIN else name
            self.is_refused = True
            self.is_login_refused = name in _REFUSED_LOGIN
            self._report(f"the broker at {self.address} refused the connection: {hint}")
            return
        self._attempts = 0
        self.problem = None
        self.is_refused = self.is_login_refused = False
        with self._subscribing:
            self._subscribed.clear()
            self.refused_filters.clear()
            self._send_subscriptions(self._subscriptions)
            self._connected.set()
        logger.info("connected to %s", self.address)
        for callback in self._on_connected:
            self._guarded(callback)

    def _send_subscriptions(self, subscriptions: list[tuple[str, int]]) -> None:
        if subscriptions:
            _, message_id = self._client.subscribe(list(subscriptions))
            if message_id is not None:
                self._subscribed[message_id] = [topic_filter for topic_filter, _ in subscriptions]

    def _subscription_answered(
        self,
        _client: Any,
        _userdata: Any,
        message_id: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        with self._subscribing:
            asked = zip(self._subscribed.pop(message_id, []), reasons, strict=False)
            refused = [topic_filter for topic_filter, reason in asked if reason.is_failure]  # 0x80, section 3.9.3
            self.refused_filters.update(refused)
        for topic_filter in refused:
            logger.warning("the broker at %s refused the subscription to %s", self.address, topic_filter)

    def _connect_failed(self, _client: Any, _userdata: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles the error, and does not pass it on
        self._report(f"no connection to {self.address}: {why_not_connected(error, self.address, self._cafile)}")
        self._back_off()

    def _disconnected(
        self,
        _client: Any,
        _userdata: Any,
        _flags: Any,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        if self._stopping:
            return
        if was_connected:
            self._report(f"connection to {self.address} lost ({reason.getName()}); connecting again")
        elif not self._was_answered:
            self._report(f"no connection to {self.address}: {ended_without_an_answer(self.address)}")
        self._was_answered = False
        self._back_off()

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            logger.exception("a message handler failed; the connection goes on")

    def _report(self, problem: str) -> None:
        self.problem = problem
        if self._due(problem):
            logger.warning(problem)

    def _back_off(self) -> None:
        longest = min(FIRST_RETRY_S * 2**self._attempts, LONGEST_RETRY_S)
        self._attempts = min(self._attempts + 1, 10)
        delay = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, keeps no secret  # nosec B311
        self._client.reconnect_delay_set(delay, delay)
