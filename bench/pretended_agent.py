"""One pretended agent: an MQTT connection that publishes samples on time and answers no command."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import cast

from bench import packets, payloads
from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE
from gpumon.topics import Channel, Topics

KEEPALIVE_S = 60
_SUBSCRIBE_ID = 1
_REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Worker:
    """Who an agent pretends to be; `number` makes its cards' uuids and values differ from others'."""

    number: int
    id: str
    token: str


@dataclass(slots=True)
class Counts:
    """What all pretended agents of a process did together."""

    published: int = 0
    published_bytes: int = 0
    skipped: int = 0
    commands: int = 0
    acknowledged: int = 0
    lost_connections: int = 0
    lateness_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class PretendedAgent(asyncio.Protocol):
    """Connects as a worker with the retained messages, the will and the subscriptions of a real agent."""

    def __init__(self, who: Worker, topics: Topics, gpus: int, interval_s: float, counts: Counts) -> None:
        loop = asyncio.get_running_loop()
        self.subscribed: asyncio.Future[float] = loop.create_future()
        self.worker_id = who.id
        self.last_time: float | None = None
        self._loop = loop
        self._number = who.number
        self._token = who.token
        self._topics = topics
        self._interval_s = interval_s
        self._gpus = gpus
        self._counts = counts
        self._splitter = packets.Splitter()
        self._sample = payloads.Sample(who.number, gpus, interval_s)
        topic = topics.worker(who.id, Channel.METRICS)
        whole = packets.publish(topic, self._sample.payload, retain=True)
        self._sample.with_head(whole[: len(whole) - len(self._sample.payload)])
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._closing = False
        self._seq = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.TimerHandle | None = None

    @property
    def payload_bytes(self) -> int:
        """How long a sample is."""
        return len(self._sample.payload)

    def publish_every_interval(self, first_due: float) -> None:
        """Publish at `first_due` (the loop's clock) and then each interval, without drift."""
        self._due = first_due
        self._timer = self._loop.call_at(first_due, self._publish)

    def stop_publishing(self) -> None:
        """Publish no more; the connection stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """End the connection as an agent that is stopped does."""
        self._closing = True
        self.stop_publishing()
        if self._ping is not None:
            self._ping.cancel()
        if self._transport is not None:
            status = self._topics.worker(self.worker_id, Channel.STATUS)
            self._transport.write(packets.publish(status, STATUS_OFFLINE.encode(), retain=True) + packets.DISCONNECT)
            self._transport.close()

    def _publish(self) -> None:
        lateness = self._loop.time() - self._due
        self._due += self._interval_s
        self._timer = self._loop.call_at(self._due, self._publish)
        if self._paused or self._transport is None:
            self._counts.skipped += 1
            return
        now = time.time()
        packet = self._sample.at(now, self._seq)
        self._transport.write(packet)
        self._seq += 1
        # As far as the digits in the payload go, so that both can be compared.
        self.last_time = float(b"%.6f" % now)
        counts = self._counts
        counts.published += 1
        counts.published_bytes += len(packet)
        counts.lateness_s.append(lateness)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        status = self._topics.worker(self.worker_id, Channel.STATUS)
        client_id = f"gpumon-{secrets.token_hex(8)}"
        self._transport.write(
            packets.connect(client_id, (self.worker_id, self._token), (status, STATUS_OFFLINE), KEEPALIVE_S)
        )

    def data_received(self, data: bytes) -> None:
        """Answer what the broker sends."""
        try:
            for kind, flags, body in self._splitter.feed(data):
                self._received(kind, flags, body)
        except ValueError as error:
            self._failed(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the broker ended."""
        self._transport = None
        if not self._closing:
            self._counts.lost_connections += 1
        if not self.subscribed.done():
            self.subscribed.set_exception(ConnectionError(f"{self.worker_id}: the broker ended the connection: {exc}"))

    def pause_writing(self) -> None:
        """Skip samples while the broker does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Publish again."""
        self._paused = False

    def _received(self, kind: int, flags: int, body: bytes) -> None:
        if kind == packets.PUBLISH:
            self._message(flags, body)
        elif kind == packets.PUBACK:
            self._counts.acknowledged += 1
        elif kind == packets.CONNACK:
            if body[1] != 0:
                self._failed(f"CONNACK {body[1]}: the broker refused the log-in")
                return
            self._introduce()
        elif kind == packets.SUBACK and not self.subscribed.done():
            if _REFUSED in body[2:]:
                self._failed("the broker refused a subscription")
                return
            self.subscribed.set_result(time.monotonic())

    def _introduce(self) -> None:
        """Do on every connect what a real agent does: subscribe, and say that it is there and what it has."""
        assert self._transport is not None
        topics, worker_id = self._topics, self.worker_id
        command, status = topics.worker(worker_id, Channel.COMMAND), topics.worker(worker_id, Channel.STATUS)
        inventory = payloads.info(self._number, worker_id, self._gpus, self._interval_s)
        self._transport.write(
            packets.subscribe(_SUBSCRIBE_ID, [command, topics.command_to_all, status])
            + packets.publish(status, STATUS_ONLINE.encode(), retain=True, packet_id=2)
            + packets.publish(topics.worker(worker_id, Channel.INFO), inventory, retain=True, packet_id=3)
        )
        self._ping = self._loop.call_later(KEEPALIVE_S / 2, self._send_ping)

    def _message(self, flags: int, body: bytes) -> None:
        topic_end = 2 + int.from_bytes(body[:2], "big")
        if flags & 0x06:
            assert self._transport is not None
            self._transport.write(packets.puback(int.from_bytes(body[topic_end : topic_end + 2], "big")))
        if self._topics.is_command(body[2:topic_end].decode(errors="replace")):
            self._counts.commands += 1

    def _send_ping(self) -> None:
        if self._transport is not None:
            self._transport.write(packets.PINGREQ)
            self._ping = self._loop.call_later(KEEPALIVE_S / 2, self._send_ping)

    def _failed(self, problem: str) -> None:
        problem = f"{self.worker_id}: {problem}"
        if len(self._counts.problems) < 20:
            self._counts.problems.append(problem)
        if not self.subscribed.done():
            self.subscribed.set_exception(ConnectionError(problem))
        if self._transport is not None:
            self._transport.close()
