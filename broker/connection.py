"""One client's connection: what it sends is read here and handed to the broker, what it is to get waits here.

It mends amqtt's handling of a connection: a task for every packet and every delivery, a wait of five seconds for each
acknowledgement, an unbounded queue behind a client that does not read, and a silent client that stays (amqtt ignores
the keepalive's end). A client that sends more than its allowance is not read for a while, so that it waits as TCP has
it; nothing of what it sends is lost.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from broker.admission import Admitted
from broker.counters import BrokerCounters
from broker.limits import Limits
from broker.outbox import Outbox, Queued
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
from broker.session import Session, principal_of
from gpumon.roles import Role

logger = logging.getLogger(__name__)

SUBSCRIPTION_REFUSED = 0x80
MAX_IN_FLIGHT = 1000
WRITE_BUFFER_BYTES = 256 * 1024
PACKETS_PER_TURN = 64
# A SUBSCRIBE with the 1,000 filters that one client may have; everything else is smaller.
MAX_OTHER_PACKET_BYTES = 64 * 1024
# What finding retained messages costs, compared with taking a message: so many of them are one.
RETAINED_FOR_A_MESSAGE = 100
LONGEST_REST_S = 1.0


class Hub(Protocol):
    """What a connection asks of the broker."""

    counters: BrokerCounters
    queued: Queued

    def spend(self, connection: Connection, messages: float, size: int) -> float:
        """Count what a client has sent, in messages and bytes; return for how many seconds not to read from it."""
        ...

    def published(self, connection: Connection, message: Message) -> None:
        """Take a message that the client has published."""
        ...

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> int:
        """Return the QoS granted, or `SUBSCRIPTION_REFUSED`."""
        ...

    def unsubscribe(self, connection: Connection, topic_filter: str) -> None:
        """End a subscription."""
        ...

    def retained_topics(self, topic_filter: str) -> Sequence[str]:
        """Return the topics under this filter that have a retained message."""
        ...

    def retained_message(self, connection: Connection, topic: str) -> Message | None:
        """Return the message retained now on this topic, where the client may read it."""
        ...


class Connection:
    """A client that has logged in, until it goes.

    `on_problem` is told, with the kind of problem, in one line why the broker had to intervene.
    """

    def __init__(
        self,
        admitted: Admitted,
        hub: Hub,
        limits: Limits,
        on_problem: Callable[[str, str], None],
    ) -> None:
        self.session: Session = admitted.session
        self.principal = principal_of(admitted.session)
        self.will = admitted.will
        self._reader = admitted.reader
        self._writer = writer = admitted.writer
        self._hub = hub
        self._counters = hub.counters
        # Who may publish nothing, or only a few words, need not be read megabytes from.
        is_small = self.principal.role in (Role.VIEWER, Role.STRANGER)
        self._max_publish_bytes = min(limits.max_packet_bytes, MAX_OTHER_PACKET_BYTES if is_small else sys.maxsize)
        self._on_problem = on_problem
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(limits.max_queued_messages, hub.queued)
        self._retained: OrderedDict[str, int] = OrderedDict()
        self._in_flight: set[int] = set()
        self._last_packet_id = 0
        self._received: set[int] = set()
        self._drainer: asyncio.Task[None] | None = None
        self._last_heard = self._loop.time()
        self._is_resting = False
        self._is_closed = False
        self._silence_timer: asyncio.TimerHandle | None = None
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    async def run(self) -> bool:
        """Serve the client until its connection ends; tell whether it has said goodbye (so that its will is void)."""
        self._watch_silence()
        try:
            for turn in itertools.count(1):
                packet = await read_packet(self._reader, MAX_OTHER_PACKET_BYTES, self._max_publish_bytes)
                self._last_heard = self._loop.time()
                if packet.kind == DISCONNECT:
                    return True
                cost = self._take_publish(packet) if packet.kind == PUBLISH else self._take(packet)
                rest_s = self._hub.spend(self, cost, len(packet.body))
                del packet  # else each silent client holds its last sample here, beside the retained one
                if rest_s > 0:
                    await self._rest(rest_s)
                if self._writer.transport.get_write_buffer_size() > WRITE_BUFFER_BYTES:
                    await self._writer.drain()  # who does not read its answers is not read either
                if turn % PACKETS_PER_TURN == 0:
                    await asyncio.sleep(0)  # a buffer full of small packets must not keep the others waiting
        except PacketTooLargeError as error:
            self._counters.oversized_packets += 1
            setting = " (broker.max_packet_bytes)" if error.limit > MAX_OTHER_PACKET_BYTES else ""
            self._on_problem("size", f"sent {error}{setting}: its connection is closed")
        except MalformedPacketError as error:
            self._on_problem("protocol", f"broke the protocol with {error}: its connection is closed")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.close()
        return False

    def deliver(self, message: Message, qos: int) -> None:
        """Send a message, or let it wait until the client has read what was sent before."""
        if self._is_closed:
            return
        dropped = self._outbox.put(message, qos)
        self._pump()
        if dropped:
            self._counters.dropped_messages += dropped
            self._on_problem("pace", "does not keep up: the oldest of the messages that wait for it are dropped")

    def answer(self, packet: bytes) -> None:
        """Send a packet that does not wait its turn."""
        if not self._writer.transport.is_closing():
            self._writer.write(packet)

    @property
    def waiting_bytes(self) -> int:
        """How much waits until the client has read what was sent before."""
        return self._outbox.size

    def close_in(self, delay_s: float) -> None:
        """Close the connection some time from now, if it is still there."""
        self._loop.call_later(delay_s, self.close)

    def close(self) -> None:
        """Close the connection at once and let go of what waits for it; `run` ends."""
        self._is_closed = True
        self._writer.transport.abort()
        if self._silence_timer is not None:
            self._silence_timer.cancel()
        self._outbox.clear()
        self._retained.clear()

    async def _rest(self, rest_s: float) -> None:
        """Read nothing for so long, or until the connection is closed."""
        self._counters.slowed_packets += 1
        self._on_problem(
            "rate", "sends more than broker.max_messages_per_s or broker.max_bytes_per_s: it is slowed down"
        )
        self._is_resting = True
        until = self._loop.time() + rest_s
        while not self._is_closed and (left_s := until - self._loop.time()) > 0:
            await asyncio.sleep(min(left_s, LONGEST_REST_S))
        self._is_resting = False
        self._last_heard = self._loop.time()

    def _take_publish(self, packet: Packet) -> float:
        """Return what a PUBLISH costs, in messages."""
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
        return 1

    def _take(self, packet: Packet) -> float:
        """Return what any other packet costs, in messages; an acknowledgement that was waited for costs nothing."""
        if packet.kind == PUBACK:
            packet_id = decode_packet_id(packet.body)
            was_awaited = packet_id in self._in_flight
            self._in_flight.discard(packet_id)
            self._pump()
            return 0 if was_awaited else 1
        if packet.kind == PINGREQ:
            self.answer(PINGRESP_BYTES)
        elif packet.kind == SUBSCRIBE:
            return self._subscribe(*decode_subscribe(packet))
        elif packet.kind == UNSUBSCRIBE:
            packet_id, filters = decode_unsubscribe(packet)
            for topic_filter in filters:
                self._hub.unsubscribe(self, topic_filter)
            self.answer(encode_answer(UNSUBACK, packet_id))
            return len(filters)
        elif packet.kind == PUBREL:
            packet_id = decode_packet_id(packet.body)
            self._received.discard(packet_id)
            self.answer(encode_answer(PUBCOMP, packet_id))
        else:
            raise MalformedPacketError(f"a packet of type {packet.kind} that it may not send now")
        return 1

    def _subscribe(self, packet_id: int, filters: list[tuple[str, int]]) -> float:
        codes = [self._hub.subscribe(self, topic_filter, qos) for topic_filter, qos in filters]
        self.answer(encode_answer(SUBACK, packet_id, bytes(codes)))
        found = 0
        for (topic_filter, _), code in zip(filters, codes, strict=True):
            if code != SUBSCRIPTION_REFUSED:
                topics = self._hub.retained_topics(topic_filter)
                found += len(topics)
                self._retained.update((topic, code) for topic in topics)
        self._pump()
        return len(filters) + found / RETAINED_FOR_A_MESSAGE

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
        last_heard = self._loop.time() if self._is_resting else self._last_heard
        left_s = last_heard + 1.5 * self.session.keep_alive - self._loop.time()
        if left_s > 0:
            self._silence_timer = self._loop.call_later(left_s, self._watch_silence)
            return
        logger.info("%s was silent for 1.5 keepalives: its connection is closed", self.session.username)
        self._writer.transport.abort()
