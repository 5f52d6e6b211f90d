"""What the workers say, taken from the broker itself: `gpumon top` needs no page and no master."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.errors import GpumonError, InvalidPayloadError, InvalidTopicError
from gpumon.link import Credentials, InboundMessage, MqttLink
from gpumon.messages import Decoder, Info, Metrics, decode_status
from gpumon.topics import Channel, Topics
from master.worker import Worker
from webui.rows import FleetRow, fleet_row

CONNECT_TIMEOUT_S = 10.0
# Retained messages come in one burst after the subscription; this long a silence ends it.
QUIET_S = 0.5
FIRST_MESSAGE_TIMEOUT_S = 2.0
WHOLE_BURST_TIMEOUT_S = 10.0


class FeedError(GpumonError):
    """The broker cannot be reached, or does not let this in."""

    see = "troubleshooting.md#a-worker-does-not-appear"


class FleetFeed:
    """Every worker as last heard of. Constructing it does nothing; safe to ask from any thread."""

    def __init__(
        self, address: BrokerAddress, credentials: Credentials | None, cafile: Path | None, topics: Topics
    ) -> None:
        self._link = MqttLink(address, f"gpumon-top-{secrets.token_hex(8)}", credentials, cafile)
        self._topics = topics
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._heard: float | None = None
        self._infos = Decoder(Info)
        self._samples = Decoder(Metrics)

    @property
    def problem(self) -> str | None:
        """Why nothing new comes, None while the broker is connected."""
        return None if self._link.is_connected else self._link.problem or "not connected yet"

    @property
    def broker(self) -> str:
        """Where the broker is."""
        return str(self._link.address)

    def start(self) -> None:
        """Connect and listen. Raises FeedError: when the broker does not let this in within 10 s."""
        for channel, qos in ((Channel.STATUS, 1), (Channel.INFO, 1), (Channel.METRICS, 0)):
            self._link.subscribe(self._topics.every_worker(channel), qos, self._received)
        self._link.start()
        if not self._link.wait_listening(CONNECT_TIMEOUT_S):
            raise FeedError(self._link.problem or "the broker does not answer")

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop()

    def await_fleet(self) -> None:
        """Wait until the broker has handed over what it keeps of every worker."""
        begun = time.monotonic()
        while time.monotonic() - begun < WHOLE_BURST_TIMEOUT_S:
            heard, now = self._heard, time.monotonic()
            if now - (heard or begun) > (QUIET_S if heard else FIRST_MESSAGE_TIMEOUT_S):
                return
            if heard and now - begun > QUIET_S and not self._is_waiting():
                return
            time.sleep(0.02)

    def rows(self) -> list[FleetRow]:
        """Return every worker's row as of now."""
        now = time.time()
        with self._lock:
            workers = list(self._workers.values())
        return [fleet_row(worker, now) for worker in workers]

    def worker(self, worker_id: str) -> Worker | None:
        """Return one worker, None where it is not known."""
        with self._lock:
            return self._workers.get(worker_id)

    def _is_waiting(self) -> bool:
        with self._lock:
            return any(w.info is None or (w.metrics is None and w.info.gpus) for w in self._workers.values())

    def _received(self, message: InboundMessage) -> None:
        try:
            worker_id, channel = self._topics.read(message.topic)
            self._heard = time.monotonic()
            with self._lock:
                if not message.payload:
                    self._workers.pop(worker_id, None)
                    return
                worker = self._workers.get(worker_id) or Worker(worker_id, known_since=time.time())
                self._workers[worker_id] = self._changed(worker, channel, message)
        except (InvalidPayloadError, InvalidTopicError):
            return  # the master counts it and says so

    def _changed(self, worker: Worker, channel: Channel, message: InboundMessage) -> Worker:
        now, retained = time.time(), message.retained
        if channel is Channel.STATUS:
            return worker.told_status(decode_status(message.payload), now, retained=retained)
        if channel is Channel.INFO:
            return worker.told_info(self._infos.decode(message.payload), now, retained=retained)
        return worker.told_sample(self._samples.decode(message.payload), message.payload, now, retained=retained)
