"""Alerts on MQTT: what each rule finds on each worker, retained, and made right again at every connect."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from gpumon.errors import InvalidPayloadError, InvalidTopicError
from gpumon.link import InboundMessage, MqttLink
from gpumon.messages import AlertMessage, Decoder, encode
from gpumon.topics import Topics
from master.alerts.clock import Clocks
from master.alerts.records import Alert
from master.keeping import Keeps, keeps_all

logger = logging.getLogger(__name__)

# What only has another value is published again after this time.
EACH_S = 60.0

_Key = tuple[str, str]
_State = tuple[object, ...]


class Publication:
    """Publishes alerts. Constructing it does nothing; safe to use from any thread.

    `firing_of` gives the alerts that fire by a rule on a worker, `is_watched` tells whether the worker is known and
    the rule looks at it: else its topic is cleared.
    """

    def __init__(
        self,
        topics: Topics,
        clocks: Clocks,
        firing_of: Callable[[str, str], list[Alert]],
        is_watched: Callable[[str, str], bool],
        keeps: Keeps = keeps_all,
    ) -> None:
        self._keeps = keeps
        self._topics = topics
        self._clocks = clocks
        self._firing_of = firing_of
        self._is_watched = is_watched
        self._link: MqttLink | None = None
        self._told: dict[_Key, tuple[_State, float]] = {}
        self._decoder = Decoder(AlertMessage)
        self._lock = threading.Lock()

    def attach(self, link: MqttLink, firing: Callable[[], Iterable[Alert]]) -> None:
        """Publish over this link; on every connect, all that fires."""
        self._link = link
        link.subscribe(self._topics.every_alert, 1, self._compare)
        link.on_connected(lambda: self._tell_all(firing()))

    def detach(self) -> None:
        """Publish no more."""
        self._link = None

    def tell(self, alert: Alert) -> None:
        """Publish that an alert is another than before."""
        self._publish(alert.worker_id, alert.rule, alert, is_forced=False)

    def compare_again(self) -> None:
        """Set right what the broker has kept, of workers that another master has published about until now."""
        if self._link is not None:
            self._link.ask_for(self._topics.every_alert, 1)

    def let_go(self, is_lost: Keeps) -> None:
        """Leave it to another master to publish about these workers."""
        with self._lock:
            for key in [key for key in self._told if is_lost(key[0])]:
                del self._told[key]

    def clear_worker(self, worker_id: str) -> None:
        """Clear what is retained of a worker."""
        with self._lock:
            keys = [key for key in self._told if key[0] == worker_id]
        for key in keys:
            self._clear(key)

    def clear_unwatched(self) -> None:
        """Clear what is retained of rules that look at its worker no more."""
        with self._lock:
            keys = list(self._told)
        for key in keys:
            if not self._is_watched(*key) and not self._firing_of(*key):
                self._clear(key)

    def _tell_all(self, firing: Iterable[Alert]) -> None:
        for (worker_id, rule), alert in {(alert.worker_id, alert.rule): alert for alert in firing}.items():
            self._publish(worker_id, rule, alert, is_forced=True)

    def _publish(self, worker_id: str, rule: str, latest: Alert, *, is_forced: bool) -> None:
        key = (worker_id, rule)
        firing = self._firing_of(worker_id, rule)
        if not firing and not self._is_watched(worker_id, rule):
            self._clear(key)
            return
        shown = max(firing, key=lambda alert: (alert.since, alert.id)) if firing else latest
        gpus = sorted(alert.gpu for alert in firing if alert.gpu is not None)
        state = (bool(firing), shown.id, shown.count, shown.severity, *gpus)
        now = self._clocks.now()
        with self._lock:
            before, at = self._told.get(key, ((), 0.0))
            if not is_forced and before == state and now - at < EACH_S:
                return
            self._told[key] = (state, now)
        self._send(key, encode(_message(shown, gpus, is_firing=bool(firing))))

    def _clear(self, key: _Key) -> None:
        with self._lock:
            self._told.pop(key, None)
        self._send(key, b"")

    def _send(self, key: _Key, payload: bytes) -> None:
        link = self._link
        if link is not None and not link.publish(self._topics.alert(*key), payload, qos=1, retain=True):
            logger.warning("%s could not be published: too much waits for the broker", self._topics.alert(*key))

    def _compare(self, message: InboundMessage) -> None:
        """Set right what the broker has kept from before: what ended while nobody could tell it."""
        if not message.retained or not message.payload:
            return
        try:
            worker_id, rule = self._topics.read_alert(message.topic)
        except InvalidTopicError:
            return
        key = (worker_id, rule)
        if not self._keeps(worker_id) or self._firing_of(worker_id, rule):
            return
        if not self._is_watched(worker_id, rule):
            self._clear(key)
            return
        try:
            kept = self._decoder.decode(message.payload)
        except InvalidPayloadError:
            self._clear(key)
            return
        with self._lock:
            self._told.setdefault(key, ((), 0.0))
        if kept.state == "firing":
            self._send(key, encode(_ended(kept, self._clocks.wall())))


def _message(alert: Alert, gpus: list[str], *, is_firing: bool) -> AlertMessage:
    return AlertMessage(
        rule=alert.rule,
        state="firing" if is_firing else "resolved",
        since=alert.since,
        text=alert.text,
        severity=alert.severity.value,
        gpu=alert.gpu,
        gpus=gpus,
        value=alert.value,
        threshold=alert.threshold,
        unit=alert.unit,
        count=alert.count,
        until=None if is_firing else alert.until,
    )


def _ended(kept: AlertMessage, now: float) -> AlertMessage:
    return AlertMessage(
        rule=kept.rule,
        state="resolved",
        since=kept.since,
        text=kept.text,
        severity=kept.severity,
        gpu=kept.gpu,
        value=kept.value,
        threshold=kept.threshold,
        unit=kept.unit,
        count=kept.count,
        until=now,
    )
