"""Tells Home Assistant of a worker and its cards, again when it may have missed it, and takes back what is gone."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.home_assistant.buttons import Buttons
from agent.home_assistant.messages import Machine, discovery_messages
from agent.home_assistant.record import Record
from gpumon.link import Delivery, InboundMessage, MqttLink
from gpumon.messages import GpuInventory, Info
from gpumon.topics import HOME_ASSISTANT_STATUS, Topics

logger = logging.getLogger(__name__)

BIRTH = b"online"
BIRTH_JITTER_S = (1.0, 10.0)  # so that not every worker answers at once
# Home Assistant needs a moment to forget an entity before the same one can come from another topic.
CLEARED_S = 3.0
# A broker may let a card's message through only after it has heard of the card (`master/foreign_sync.py`).
REPEAT_S = 30.0
REPEAT_EACH_S = 3600.0


class Announcer:
    """An extension of a worker that publishes its discovery messages, retained.

    They are sent on every connect, half a minute later, each hour, and soon after Home Assistant has said that it is
    there. A message whose card has been retired is cleared. One that `is_enabled` false announces nothing, and clears
    what an earlier run has announced.
    """

    def __init__(
        self,
        worker_id: str,
        topics: Topics,
        folder: Path,
        known_cards: Callable[[], Sequence[GpuInventory]],
        buttons: Buttons,
        *,
        is_enabled: bool = True,
    ) -> None:
        self._worker_id = worker_id
        self._topics = topics
        self._record = Record(folder)
        self._known_cards = known_cards
        self._buttons = buttons
        self._is_enabled = is_enabled
        self._lock = threading.RLock()
        self._link: MqttLink | None = None
        self._built: tuple[Info, list[GpuInventory]] | None = None
        self._messages: dict[str, bytes] = {}
        self._clearing: dict[str, Delivery] = {}
        self._timer: threading.Timer | None = None
        self._due = float("inf")
        self._is_stopped = False

    def start(self, link: MqttLink) -> None:
        """Read what was announced before, and listen for Home Assistant on the worker's connection."""
        self._record.load()
        self._link = link
        if self._is_enabled:
            link.subscribe(HOME_ASSISTANT_STATUS, 1, self._home_assistant_heard)

    def stop(self) -> None:
        """Announce no more; what is announced stays, and the worker's status says that it is not there."""
        with self._lock:
            self._is_stopped = True
            if self._timer is not None:
                self._timer.cancel()

    def announced(self, info: Info) -> None:
        """Announce what the worker has; called after every connect, and when its inventory has changed."""
        with self._lock:
            self._build(info)
            if self._clear():
                self._later(CLEARED_S)
            else:
                self._send()
                self._later(REPEAT_S)

    def _home_assistant_heard(self, message: InboundMessage) -> None:
        if message.payload == BIRTH and not message.retained:  # a retained one is old: connecting has announced already
            with self._lock:
                self._later(random.uniform(*BIRTH_JITTER_S))  # noqa: S311 - spreads load, keeps no secret  # nosec B311

    def _build(self, info: Info) -> None:
        """Write the messages anew where the worker or its cards have changed."""
        present = {gpu.uuid: gpu for gpu in info.gpus}
        lost = [gpu for gpu in self._known_cards() if gpu.uuid not in present]
        cards = [*info.gpus, *lost]
        if not self._is_enabled or self._built == (info, cards):
            return
        self._built = info, cards
        machine = Machine(self._worker_id, self._topics, info, self._buttons)
        self._messages = discovery_messages(machine, cards)
        uuids = [card.uuid for card in cards]
        self._record.adopt_earlier_names(uuids)
        self._record.keep(self._record.topics.union(self._messages), uuids)

    def _clear(self) -> bool:
        """Clear what is no longer announced; tell whether there was such a topic that is not known to be clear yet."""
        clear = {topic for topic, delivery in self._clearing.items() if delivery.is_acknowledged}
        self._record.forget(clear)
        stale = self._record.topics.difference(self._messages)
        under_way = {topic: delivery for topic, delivery in self._clearing.items() if not delivery.is_dropped}
        self._clearing = {topic: under_way[topic] for topic in stale.intersection(under_way)}
        if self._link is not None:
            for topic in sorted(stale.difference(under_way)):
                self._clearing[topic] = self._link.deliver(topic, b"", retain=True)
        return bool(stale)

    def _send(self) -> None:
        if self._link is not None and self._link.is_connected:
            for topic, message in self._messages.items():
                self._link.publish(topic, message, qos=1, retain=True)

    def _later(self, delay_s: float) -> None:
        """Announce again after this time, or earlier where that is planned already."""
        due = time.monotonic() + delay_s
        if self._is_stopped or due >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = threading.Timer(delay_s, self._again)
        self._timer.name, self._timer.daemon = "home-assistant", True
        self._timer.start()

    def _again(self) -> None:
        with self._lock:
            self._due = float("inf")
            if self._is_stopped:
                return
            is_left = self._clear()
            self._send()
            if self._is_enabled or is_left:
                self._later(REPEAT_EACH_S if self._is_enabled else REPEAT_S)
