"""Takes in what workers, operators and the broker publish: decodes, validates, and hands it to fleet and commands.

Runs in the link's thread. A payload that is not valid is counted, told with the worker and logged once a minute each;
nothing else comes of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from gpumon.commands import Command, CommandAudit, CommandId, CommandOutput, CommandResult, parse_command
from gpumon.errors import InvalidPayloadError, InvalidTopicError
from gpumon.link import InboundMessage, MqttLink
from gpumon.log import OncePer
from gpumon.messages import Decoder, Event, Info, Metrics, decode_status
from gpumon.topics import Channel, Topics
from master.command_intake import CommandIntake
from master.counters import IngestCounters
from master.fleet import Fleet
from master.store.engine import StoreError

logger = logging.getLogger(__name__)

# Far beyond any honest message (256 GPUs with their processes); decoding more would keep the others waiting.
MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
MAX_REASON_CHARACTERS = 300
AUDIT = "audit"

# Metrics may be lost (QoS 0): the next one is underway. All else is acknowledged.
_QOS = {channel: 0 if channel is Channel.METRICS else 1 for channel in Channel}
# What is not state is never taken from a retained message: it would happen again at every connect.
_STATE = frozenset({Channel.STATUS, Channel.INFO, Channel.METRICS})


class Feed(Protocol):
    """How samples come in when other masters share the fleet."""

    def attach(self, link: MqttLink, ingest: Ingest) -> None:
        """Subscribe to samples over this link."""

    def hand_on(self, worker_id: str, payload: bytes) -> None:
        """Give a live sample to the other masters."""


class _Carried(msgspec.Struct, frozen=True):
    id: CommandId | None = None


class Ingest:
    """Subscribes to everything the master listens to."""

    def __init__(
        self,
        fleet: Fleet,
        commands: CommandIntake,
        topics: Topics,
        clock: Callable[[], float] = time.time,
        passes_over: Callable[[str], bool] = lambda _worker_id: False,
        *,
        feed: Feed | None = None,
    ) -> None:
        """Take what is in, except from workers that are to be passed over, since they were removed just now.

        `feed` is for samples that are shared with other masters.
        """
        self.counters = IngestCounters()
        self._fleet = fleet
        self._commands = commands
        self._topics = topics
        self._clock = clock
        self._passes_over = passes_over
        self._feed = feed
        self._due = OncePer(60.0)
        self._infos = Decoder(Info)
        self._samples = Decoder(Metrics)
        self._events = Decoder(Event)
        self._outputs = Decoder(CommandOutput)
        self._results = Decoder(CommandResult)
        self._audits = Decoder(CommandAudit)
        self._carried = msgspec.json.Decoder(_Carried)
        self._takers: dict[Channel, Callable[[str, InboundMessage, float], None]] = {
            Channel.STATUS: self._take_status,
            Channel.INFO: self._take_info,
            Channel.METRICS: self._take_sample,
            Channel.EVENT: self._take_event,
            Channel.OUTPUT: self._take_output,
            Channel.RESULT: self._take_result,
            Channel.COMMAND: self._take_command,
        }

    def attach(self, link: MqttLink) -> None:
        """Subscribe, on this and every later connection of the link."""
        for channel in Channel:
            topic_filter, handler = self._topics.every_worker(channel), partial(self._receive, channel)
            if channel is Channel.METRICS and self._feed is not None:
                link.handle(topic_filter, handler)
                self._feed.attach(link, self)
            else:
                link.subscribe(topic_filter, _QOS[channel], handler)
        link.subscribe(self._topics.audit, 1, self._receive_audit)
        link.on_connected(self._fleet.link_connected)

    def take_told(self, worker_id: str, payload: bytes) -> None:
        """Take in a live sample that another master got from the broker, in the thread in which it comes."""
        message = InboundMessage(self._topics.worker(worker_id, Channel.METRICS), payload, retained=False)
        try:
            if not self._passes_over(worker_id):
                self._keep_sample(worker_id, message, self._clock())
        except InvalidPayloadError as error:
            self._reject(Channel.METRICS.value, worker_id, message.topic, error)

    def _receive(self, channel: Channel, message: InboundMessage) -> None:
        self.counters.received[channel.value] += 1
        if (message.retained and channel not in _STATE) or not message.payload:
            return  # an empty payload clears a retained message, or is an empty command
        worker_id = None
        try:
            if channel is Channel.COMMAND and message.topic == self._topics.command_to_all:
                self._take_command(None, message, self._clock())
                return
            worker_id, _ = self._topics.read(message.topic)
            if self._passes_over(worker_id):
                return
            if len(message.payload) > MAX_PAYLOAD_BYTES:
                raise InvalidPayloadError(f"{len(message.payload)} bytes, at most {MAX_PAYLOAD_BYTES} are taken")
            self._takers[channel](worker_id, message, self._clock())
        except (InvalidPayloadError, InvalidTopicError) as error:
            self._reject(channel.value, worker_id, message.topic, error)
        except StoreError as error:
            if self._due("store"):
                logger.error("a %s message could not be taken in: %s", channel.value, error)

    def _receive_audit(self, message: InboundMessage) -> None:
        self.counters.received[AUDIT] += 1
        if message.retained or not message.payload:
            return
        try:
            audit = self._audits.decode(message.payload)
            to_all = audit.topic == self._topics.command_to_all
            worker_id = None if to_all else self._topics.read(audit.topic)[0]
            self._commands.take_audit(audit, worker_id, self._clock())
        except (InvalidPayloadError, InvalidTopicError) as error:
            self._reject(AUDIT, None, message.topic, error)
        except StoreError as error:
            if self._due("store"):
                logger.error("an audit message could not be taken in: %s", error)

    def _reject(self, kind: str, worker_id: str | None, topic: str, error: Exception) -> None:
        self.counters.rejected[kind] += 1
        reason = f"{kind}: {error}"[:MAX_REASON_CHARACTERS]
        if worker_id is not None and kind != Channel.COMMAND.value:  # a bad command is not the worker's doing
            self._fleet.reject(worker_id, reason)
        if self._due(worker_id or "other topics"):
            logger.warning("a message on %s is ignored: %s", topic[:MAX_REASON_CHARACTERS], reason)

    def _take_status(self, worker_id: str, message: InboundMessage, now: float) -> None:
        self._fleet.take_status(worker_id, decode_status(message.payload), now, retained=message.retained)

    def _take_info(self, worker_id: str, message: InboundMessage, now: float) -> None:
        self._fleet.take_info(worker_id, self._infos.decode(message.payload), now, retained=message.retained)

    def _take_sample(self, worker_id: str, message: InboundMessage, now: float) -> None:
        if self._feed is not None and not message.retained:
            self._feed.hand_on(worker_id, message.payload)
        self._keep_sample(worker_id, message, now)

    def _keep_sample(self, worker_id: str, message: InboundMessage, now: float) -> None:
        metrics = self._samples.decode(message.payload)
        _check_utf8(message.payload)
        if not self._fleet.take_sample(worker_id, metrics, message.payload, now, retained=message.retained):
            self.counters.late += 1

    def _take_event(self, worker_id: str, message: InboundMessage, now: float) -> None:
        self._fleet.take_event(worker_id, self._events.decode(message.payload), now)

    def _take_output(self, worker_id: str, message: InboundMessage, now: float) -> None:
        self._commands.take_output(worker_id, self._outputs.decode(message.payload), now)

    def _take_result(self, worker_id: str, message: InboundMessage, now: float) -> None:
        self._commands.take_result(worker_id, self._results.decode(message.payload), now)

    def _take_command(self, worker_id: str | None, message: InboundMessage, now: float) -> None:
        command = parse_command(message.payload)
        if isinstance(command, Command) and self._carries_id(message.payload):
            self._commands.take_command(command, worker_id, now)

    def _carries_id(self, payload: bytes) -> bool:
        """Tell a command object with an id of its own from one, or shell text, that the agent gives an id."""
        try:
            return self._carried.decode(payload).id is not None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False


def _check_utf8(payload: bytes) -> None:
    # The decoder passes over fields it does not know without looking into their text; the page gets all of it.
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayloadError(f"not valid UTF-8: {error.reason} at byte {error.start}") from error
