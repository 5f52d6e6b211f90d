"""One client's connection: what it sends is read here and handed to the broker, what it is to get waits here.

It mends amqtt's handling of a connection: a task for every packet and every delivery, a wait of five seconds for each
acknowledgement, an unbounded queue behind a client that does not read, and a silent client that stays (amqtt ignores
the keepalive's end).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from broker.counters import BrokerCounters
from broker.outbox import Outbox
from broker.packets import (
    DISCONNECT,
    PINGREQ,
    PINGRESP_BYTES,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    MalformedPacketError,
    Message,
    Packet,
    PacketTooLargeError,
    decode_packet_id,
    decode_publish,
    decode_subscribe,
    decode_unsubscribe,
    encode_answer,
    read_packet,
)

logger = logging.getLogger(__name__)

SUBSCRIPTION_REFUSED = 0x80
MAX_IN_FLIGHT = 1000
WRITE_BUFFER_BYTES = 256 * 1024
PACKETS_PER_TURN = 64


class Hub(Protocol):
    """What a connection asks of the broker."""

    counters: BrokerCounters

    def published(self, connection: Connection, message: Message) -> None:
        """Take a message that the client has published."""
        ...

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> int:
        """Return the QoS granted, or `SUBSCRIPTION_REFUSED`."""
        ...

    def unsubscribe(self, connection: Connection, topic_filter: str) -> None:
        """End a subscription."""
        ...

    def retained_topics(self, topic_filter: str) -> Iterable[str]:
        """Return the topics under this filter that have a retained message."""
        ...

    def retained_message(self, connection: Connection, topic: str) -> Message | None:
        """Return the message retained now on this topic, where the client may read it."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost."""

    max_packet_bytes: int
    max_queued_messages: int


class Connection:
    """A client that has logged in, until it goes.

    `on_problem` is told in one line why the broker had to intervene.
    """

    def __init__(  # noqa: PLR0917 - both ends of the stream, and what it serves
        self,
        session: Any,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        hub: Hub,
        limits: Limits,
        on_problem: Callable[[str], None],
    ) -> None:
        self.session = session
        self._reader = reader
        self._writer = writer
        self._hub = hub
        self._counters = hub.counters
        self._limits = limits
        self._on_problem = on_problem
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(limits.max_queued_messages)
        self._retained: OrderedDict[str, int] = OrderedDict()
        self._in_flight: set[int] = set()
        self._last_packet_id = 0
        self._received: set[int] = set()
        self._drainer: asyncio.Task[None] | None = None
        self._last_heard = self._loop.time()
        self._silence_timer: asyncio.TimerHandle | None = None
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    async def run(self) -> bool:
        """Serve the client until its connection ends; tell whether it has said goodbye (so that its will is void)."""
        self._watch_silence()
        try:
            for turn in itertools.count(1):
                packet = await read_packet(self._reader, self._limits.max_packet_bytes)
                self._last_heard = self._loop.time()
                if packet.kind == DISCONNECT:
                    return True
                if packet.kind == PUBLISH:
                    self._take_publish(packet)
                else:
                    await self._take(packet)
                if self._writer.transport.get_write_buffer_size() > WRITE_BUFFER_BYTES:
                    await self._writer.drain()  # who does not read its answers is not read either
                if turn % PACKETS_PER_TURN == 0:
                    await asyncio.sleep(0)  # a buffer full of small packets must not keep the others waiting
        except PacketTooLargeError as error:
            self._counters.oversized_packets += 1
            self._on_problem(f"sent {error} (broker.max_packet_bytes): its connection is closed")
        except MalformedPacketError as error:
            self._on_problem(f"broke the protocol with {error}: its connection is closed")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.close()
        return False

    def deliver(self, message: Message, qos: int) -> None:
        """Send a message, or let it wait until the client has read what was sent before."""
        dropped = self._outbox.put(message, qos)
        self._pump()
        if dropped:
            self._counters.dropped_messages += dropped
            self._on_problem("does not keep up: the oldest of the messages that wait for it are dropped")

    def answer(self, packet: bytes) -> None:
        """Send a packet that does not wait its turn."""
        if not self._writer.transport.is_closing():
            self._writer.write(packet)

    def close(self) -> None:
        """Close the connection at once and let go of what waits for it; `run` ends."""
        self._writer.transport.abort()
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._outbox.clear()
        self._retained.clear()

    def _take_publish(self, packet: Packet) -> None:
        message, packet_id = decode_publish(packet)
        if packet_id is None:
            self._hub.published(self, message)
        elif message.qos == 1:
            self._hub.published(self, message)
            self.answer(encode_answer(PUBACK, packet_id))
        else:
            if packet_id not in self._received:
                self._received.add(packet_id)
                self._hub.published(self, message)
            self.answer(encode_answer(PUBREC, packet_id))

    async def _take(self, packet: Packet) -> None:
        if packet.kind == PUBACK:
            self._in_flight.discard(decode_packet_id(packet.body))
            self._pump()
        elif packet.kind == PINGREQ:
            self.answer(PINGRESP_BYTES)
        elif packet.kind == SUBSCRIBE:
            self._subscribe(*await decode_subscribe(packet))
        elif packet.kind == UNSUBSCRIBE:
            packet_id, filters = await decode_unsubscribe(packet)
            for topic_filter in filters:
                self._hub.unsubscribe(self, topic_filter)
            self.answer(encode_answer(UNSUBACK, packet_id))
        elif packet.kind == PUBREL:
            packet_id = decode_packet_id(packet.body)
            self._received.discard(packet_id)
            self.answer(encode_answer(PUBCOMP, packet_id))
        else:
            raise MalformedPacketError(f"a packet of type {packet.kind} that it may not send now")

    def _subscribe(self, packet_id: int, filters: list[tuple[str, int]]) -> None:
        codes = [self._hub.subscribe(self, topic_filter, qos) for topic_filter, qos in filters]
        self.answer(encode_answer(SUBACK, packet_id, bytes(codes)))
        for (topic_filter, _), code in zip(filters, codes, strict=True):
            if code != SUBSCRIPTION_REFUSED:
                self._retained.update((topic, code) for topic in self._hub.retained_topics(topic_filter))
        self._pump()

    def _pump(self) -> None:
        transport = self._writer.transport
        while not transport.is_closing():
            if transport.get_write_buffer_size() > WRITE_BUFFER_BYTES:
                if self._drainer is None:
                    self._drainer = self._loop.create_task(self._drain())
                return
            if not self._send_next():
                return

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            return
        finally:
            self._drainer = None
        self._pump()

    def _send_next(self) -> bool:
        """Send what waits, then what is retained: that waits as topics, and is what is retained when its turn comes."""
        may_wait_for_answer = len(self._in_flight) < MAX_IN_FLIGHT
        delivery = self._outbox.take(acknowledged=may_wait_for_answer)
        if delivery is not None:
            self._send(delivery.message, delivery.qos, retain=False)
            return True
        while self._retained and may_wait_for_answer:
            topic, qos = self._retained.popitem(last=False)
            message = self._hub.retained_message(self, topic)
            if message is not None:
                self._send(message, min(qos, message.qos), retain=True)
                return True
        return False

    def _send(self, message: Message, qos: int, *, retain: bool) -> None:
        packet_id = None
        if qos:
            packet_id = self._last_packet_id
            while packet_id == self._last_packet_id or packet_id in self._in_flight:
                packet_id = packet_id % 0xFFFF + 1
            self._in_flight.add(packet_id)
            self._last_packet_id = packet_id
        self._writer.write(message.encode(packet_id, retain=retain))
        self._counters.messages_out += 1

    def _watch_silence(self) -> None:
        """Close a connection that is silent for one and a half keepalives (MQTT 3.1.1 section 3.1.2.10)."""
        if not self.session.keep_alive:
            return
        left_s = self._last_heard + 1.5 * self.session.keep_alive - self._loop.time()
        if left_s > 0:
            self._silence_timer = self._loop.call_later(left_s, self._watch_silence)
            return
        logger.info("%s was silent for 1.5 keepalives: its connection is closed", self.session.username)
        self._writer.transport.abort()
