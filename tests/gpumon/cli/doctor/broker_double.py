"""A small broker of MQTT 3.1.1 that lacks whatever a test wants it to lack; else it does all that gpumon needs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from enum import Enum, auto

from paho.mqtt.client import topic_matches_sub

from broker.connect_packet import ConnectRefusedError, decode_connect, encode_connack
from broker.packets import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP_BYTES,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    Message,
    Packet,
    decode_publish,
    decode_subscribe,
    encode_answer,
    read_packet,
)

LARGEST_BYTES = 150_000


class Lack(Enum):
    """What the double does not do, or does wrong."""

    PASSWORDS = auto()
    LOG_INS = auto()
    SUBSCRIPTIONS = auto()
    PUBLISHING = auto()
    ACKNOWLEDGING = auto()
    QOS_1 = auto()
    EVERY_MESSAGE = auto()
    ORDER = auto()
    LARGE_PACKETS = auto()
    RETAINED = auto()
    RETAINED_FOR_PLUS = auto()
    RETAINED_FOR_HASH = auto()
    NEWEST_RETAINED = auto()
    RETAIN_FLAG = auto()
    CLEARING = auto()
    LETTING_WILLS_IN = auto()
    WILLS = auto()
    RETAINED_WILLS = auto()
    DISCARDING_WILLS = auto()
    REPLACING = auto()
    SECOND_CONNECTIONS = auto()
    CLEAN_SESSIONS = auto()
    KEEPALIVES = auto()
    REFUSING_SHARED = auto()  # it accepts a shared subscription as any other, and nothing is published to that
    SHARING = auto()  # it gives every message to each who shares


class BrokerDouble:
    """Serves in a thread of its own while the block lasts; `retained` is what it keeps, by topic."""

    def __init__(self, *lacks: Lack) -> None:
        self.retained: dict[str, Message] = {}
        self.port = 0
        self.lacks = frozenset(lacks)
        self.sessions: dict[str, Session] = {}
        self.filters: dict[str, list[str]] = {}  # of client ids, also of those that have gone
        self.missed: dict[str, list[Message]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker-double")

    def __enter__(self) -> BrokerDouble:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            await Session(self, reader, writer).run()
        writer.close()

    def publish(self, message: Message) -> None:
        """Keep a message and hand it out, as far as that is not lacking."""
        if message.retain and Lack.RETAINED not in self.lacks:
            if not message.payload and Lack.CLEARING not in self.lacks:
                self.retained.pop(message.topic, None)
            elif message.payload and not (Lack.NEWEST_RETAINED in self.lacks and message.topic in self.retained):
                self.retained[message.topic] = message
        for client_id, filters in self.filters.items():
            if any(topic_matches_sub(each, message.topic) for each in filters):
                session = self.sessions.get(client_id)
                if session is not None:
                    session.deliver(message)
                elif Lack.CLEAN_SESSIONS in self.lacks:
                    self.missed.setdefault(client_id, []).append(message)


class Session:
    """One client's connection."""

    def __init__(self, double: BrokerDouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._double = double
        self._lacks = double.lacks
        self._reader = reader
        self._writer = writer
        self._count = 0
        self._held: Message | None = None

    async def run(self) -> None:
        """Serve the client from its first packet to its last."""
        packet = await read_packet(self._reader, 1 << 22)
        assert packet.kind == CONNECT
        try:
            connect = decode_connect(packet)
        except ConnectRefusedError as refusal:
            self._writer.write(encode_connack(refusal.code))
            return
        anonymous = connect.username is None and Lack.PASSWORDS not in self._lacks
        unwanted = connect.will is not None and Lack.LETTING_WILLS_IN in self._lacks
        double, before = self._double, self._double.sessions.get(connect.client_id)
        second = before is not None and Lack.SECOND_CONNECTIONS in self._lacks
        if anonymous or unwanted or second or Lack.LOG_INS in self._lacks:
            self._writer.write(encode_connack(5))
            return
        if before is not None and Lack.REPLACING not in self._lacks:
            before._writer.transport.abort()
        if Lack.CLEAN_SESSIONS not in self._lacks:
            double.filters.pop(connect.client_id, None)
        double.sessions[connect.client_id] = self
        self._writer.write(encode_connack(0))
        for message in double.missed.pop(connect.client_id, []):
            self.deliver(message)
        said_goodbye = False
        silence_s = 1.5 * connect.keep_alive_s if Lack.KEEPALIVES not in self._lacks else None
        try:
            said_goodbye = await self._serve(connect.client_id, silence_s)
        finally:
            if double.sessions.get(connect.client_id) is self:
                del double.sessions[connect.client_id]
            discarded = said_goodbye and Lack.DISCARDING_WILLS not in self._lacks
            if connect.will is not None and not discarded and Lack.WILLS not in self._lacks:
                retain = connect.will.retain and Lack.RETAINED_WILLS not in self._lacks
                double.publish(Message(connect.will.topic, connect.will.payload, 1, retain=retain))

    async def _serve(self, client_id: str, silence_s: float | None) -> bool:
        """Do what the client asks, until it says goodbye (True) or is to be put out (False)."""
        while True:
            try:
                packet = await asyncio.wait_for(read_packet(self._reader, 1 << 22, 1 << 22), silence_s)
            except asyncio.TimeoutError:
                return False
            if packet.kind == DISCONNECT:
                return True
            if packet.kind == PINGREQ:
                self._writer.write(PINGRESP_BYTES)
            elif packet.kind == SUBSCRIBE:
                self._subscribe(client_id, packet)
            elif packet.kind == PUBLISH and not self._publish(packet):
                return False

    def _subscribe(self, client_id: str, packet: Packet) -> None:
        packet_id, filters = decode_subscribe(packet)
        is_shared = any(each.startswith("$share/") for each, _ in filters)
        takes_shared = bool({Lack.REFUSING_SHARED, Lack.SHARING} & self._lacks)
        code = int(Lack.QOS_1 not in self._lacks)
        if (is_shared and not takes_shared) or Lack.SUBSCRIPTIONS in self._lacks:
            code = 0x80
        self._writer.write(encode_answer(SUBACK, packet_id, bytes((code,)) * len(filters)))
        if code != 0x80:
            for topic_filter, _ in filters:
                plain = topic_filter.split("/", 2)[2] if is_shared and Lack.SHARING in self._lacks else topic_filter
                self._double.filters.setdefault(client_id, []).append(plain)
                self._send_retained(topic_filter)

    def _publish(self, packet: Packet) -> bool:
        """Take a message; tell whether its client may stay."""
        message, message_id = decode_publish(packet)
        if len(message.payload) > LARGEST_BYTES and Lack.LARGE_PACKETS in self._lacks:
            return False
        if message_id is not None and Lack.ACKNOWLEDGING not in self._lacks:
            self._writer.write(encode_answer(PUBACK, message_id))
        if Lack.PUBLISHING not in self._lacks:
            self._double.publish(message)
        return True

    def deliver(self, message: Message, *, retain: bool = False) -> None:
        """Send a message to the client."""
        self._count += 1
        if Lack.EVERY_MESSAGE in self._lacks and self._count == 50:
            return
        if Lack.ORDER in self._lacks and message.payload == b"50" and self._held is None:
            self._held = message
            return
        packet_id = None if Lack.QOS_1 in self._lacks else self._count
        self._writer.write(message.encode(packet_id, retain=retain))
        if self._held is not None and self._held is not message:
            self.deliver(self._held)  # which comes after the one that followed it
            self._held = None

    def _send_retained(self, topic_filter: str) -> None:
        if "+" in topic_filter and Lack.RETAINED_FOR_PLUS in self._lacks:
            return
        if "#" in topic_filter and Lack.RETAINED_FOR_HASH in self._lacks:
            return
        for topic, message in list(self._double.retained.items()):
            if topic_matches_sub(topic_filter, topic):
                self.deliver(message, retain=Lack.RETAIN_FLAG not in self._lacks)
