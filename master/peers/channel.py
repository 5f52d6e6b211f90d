"""What masters tell each other: over Redis pub/sub, one channel for all of them and one for each.

Nothing is kept there: a message that a master misses, since Redis or its connection was away, is gone. Whatever must
not be lost is in the database as well. A master hears its own pulse each second; while it does not, it counts Redis as
away, whichever of the two directions fails.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpumon.errors import InvalidPayloadError, SettingError
from gpumon.log import OncePer
from gpumon.queue_address import QueueAddress
from master.peers.messages import Envelope, Message, Pulse, Samples, packed, unpacked

if TYPE_CHECKING:
    import redis

logger = logging.getLogger(__name__)

TIMEOUT_S = 3.0
AWAY_AFTER_S = 3.0
RETRY_S = 0.5
# Samples that come together share a message.
GATHER_S = 0.02
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_SAMPLES_AT_ONCE = 500

Receive = Callable[[Envelope], None]


class PeerChannel:
    """The way to the other masters. Constructing it does nothing; sending never blocks, from any thread.

    `missed_batches` are messages with samples that others have sent and that did not come, `dropped_samples` those
    that were not sent, since Redis took them too slowly.
    """

    def __init__(self, address: QueueAddress, receive: Receive, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what is called, in the channel's own thread, with everything that others send."""
        self.missed_batches = 0
        self.dropped_samples = 0
        self.sent_samples = 0
        self._address = address
        self._receive = receive
        self._clock = clock
        self._instance = ""
        self._prefix = ""
        self._run = secrets.token_hex(4)
        self._error: str | None = None
        self._heard: float | None = None
        self._is_doubled = False
        self._samples: deque[tuple[str, bytes]] = deque()
        self._messages: deque[tuple[str, Message]] = deque()
        self._waiting_bytes = 0
        self._batch = 0
        self._batches: dict[str, int] = {}
        self._condition = threading.Condition()
        self._is_stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._client: redis.Redis | None = None
        self._due = OncePer(60.0)

    @property
    def is_whole(self) -> bool:
        """Whether what is sent comes through: this master has heard itself lately, and nothing has failed since."""
        heard = self._heard
        return self._error is None and heard is not None and self._clock() - heard < AWAY_AFTER_S

    @property
    def problem(self) -> str | None:
        """What is wrong with it and what to do, None while it works."""
        if self._is_doubled:
            return (
                "another master has this one's id: its data folder was copied; end one of the two, and delete the file "
                "`instance` in its folder"
            )
        if self.is_whole:
            return None
        why = self._error or "nothing comes back from it"
        return f"Redis at {self._address} does not answer ({why}): see that it runs, and that socketio.queue is right"

    def start(self, instance: str, installation: str) -> None:
        """Begin; `installation` keeps apart those that use the same Redis. Raises SettingError: without redis-py."""
        self._instance, self._prefix = instance, f"gpumon:{installation}"
        self._redis()
        self._is_stopping.clear()
        for name, target in (("peers-send", self._send_all), ("peers-receive", self._receive_all)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Send what waits, if that goes at once, and end; safe to call twice."""
        self._is_stopping.set()
        with self._condition:
            self._condition.notify_all()
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(TIMEOUT_S)
        if self._client is not None:
            self._client.close()

    def pulse(self, *, leads: bool) -> None:
        """Say that this master is there, and hear it back; called about once a second."""
        self.send(Pulse(self._run, leads))

    def send(self, message: Message, to: str | None = None) -> None:
        """Send a message to all other masters, or to one; dropped while Redis is away."""
        if not isinstance(message, Pulse) and not self.is_whole:
            return
        with self._condition:
            self._messages.append((self._channel(to), message))
            self._condition.notify_all()

    def send_sample(self, worker_id: str, payload: bytes) -> None:
        """Send a sample to all other masters, together with others; the oldest that wait give way."""
        with self._condition:
            was_empty = not self._samples
            self._samples.append((worker_id, payload))
            self._waiting_bytes += len(payload)
            while self._waiting_bytes > MAX_WAITING_BYTES:
                self._waiting_bytes -= len(self._samples.popleft()[1])
                self.dropped_samples += 1
            if was_empty:
                self._condition.notify_all()

    def _redis(self) -> redis.Redis:
        if self._client is None:
            self._client = _client(self._address)
        return self._client

    def _channel(self, to: str | None) -> str:
        return f"{self._prefix}:masters" if to is None else f"{self._prefix}:master:{to}"

    def _send_all(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._samples or self._messages or self._is_stopping.is_set())
                is_last = self._is_stopping.is_set()
                is_urgent = bool(self._messages)
            if not is_urgent and not is_last:
                time.sleep(GATHER_S)
            for channel, message in self._taken():
                if not self._publish(channel, message):
                    break
            if is_last:
                return

    def _taken(self) -> list[tuple[str, Message]]:
        with self._condition:
            messages = list(self._messages)
            self._messages.clear()
            count = min(len(self._samples), MAX_SAMPLES_AT_ONCE)
            samples = [self._samples.popleft() for _ in range(count)]
            self._waiting_bytes -= sum(len(payload) for _, payload in samples)
        if samples:
            self._batch += 1
            self.sent_samples += count
            messages.append((self._channel(None), Samples(self._batch, samples)))
        return messages

    def _publish(self, channel: str, message: Message) -> bool:
        try:
            self._redis().publish(channel, packed(self._instance, message))
        except Exception as error:  # noqa: BLE001 - redis-py raises its own, those of sockets and of TLS
            self._report(error)
            self._is_stopping.wait(RETRY_S)
            return False
        return True

    def _receive_all(self) -> None:
        while not self._is_stopping.is_set():
            pubsub: Any = self._redis().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            try:
                pubsub.subscribe(self._channel(None), self._channel(self._instance))
                while not self._is_stopping.is_set():
                    message = pubsub.get_message(timeout=0.5)
                    if message is not None:
                        self._take(message["data"])
            except Exception as error:  # noqa: BLE001 - the same
                self._report(error)
                self._is_stopping.wait(RETRY_S)
            finally:
                pubsub.close()

    def _take(self, data: bytes) -> None:
        try:
            envelope = unpacked(data)
        except InvalidPayloadError as error:
            if self._due("invalid"):
                logger.warning("a message on the channel of the masters is ignored: %s", error)
            return
        if envelope.sender == self._instance:
            if isinstance(envelope.message, Pulse):
                self._heard_pulse(envelope.message)
            return
        if isinstance(envelope.message, Samples):
            self._count(envelope.sender, envelope.message.batch)
        try:
            self._receive(envelope)
        except Exception:
            if self._due("receive"):
                logger.exception("what another master told could not be taken in")

    def _count(self, sender: str, batch: int) -> None:
        before = self._batches.get(sender)
        if before is not None and batch > before:
            self.missed_batches += batch - before - 1
        self._batches[sender] = batch

    def _heard_pulse(self, pulse: Pulse) -> None:
        if pulse.run != self._run:
            if not self._is_doubled:
                self._is_doubled = True
                logger.error(self.problem)
            return
        if self._error is not None:
            logger.info("Redis at %s answers again", self._address)
        self._heard, self._error = self._clock(), None

    def _report(self, error: Exception) -> None:
        if self._is_stopping.is_set():
            return
        self._error = " ".join(str(error).split())[:200] or type(error).__name__
        if self._due("problem"):
            logger.warning("no way to the other masters over Redis at %s: %s", self._address, self._error)


def _client(address: QueueAddress) -> redis.Redis:
    try:
        import redis  # noqa: PLC0415 - of those who install gpumon, few have it
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise SettingError(
            f"socketio.queue needs redis-py, which cannot be used here ({error}): pip install 'gpumon[redis]'"
        ) from error
    more: dict[str, Any] = {}
    if address.tls:
        more = {"ssl": True, "ssl_ca_certs": str(address.cafile) if address.cafile is not None else None}
    return redis.Redis(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.user,
        password=address.password,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        socket_keepalive=True,
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # whoever waits here holds up what comes next: it is tried again from outside
        client_name="gpumon",
        **more,
    )
