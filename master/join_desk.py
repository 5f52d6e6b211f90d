"""Answers machines that ask to join, each on a topic of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass

from gpumon.errors import GpumonError, InvalidPayloadError
from gpumon.joining import JoinReply, JoinRequest
from gpumon.link import InboundMessage, MqttLink
from gpumon.log import OncePer
from gpumon.messages import Decoder, encode
from gpumon.topics import Topics
from master.audit import AuditTrail
from master.join_keys import STRANGER, JoinKeys, JoinRefusedError

logger = logging.getLogger(__name__)

MAX_WAITING = 5_000
MAX_REQUEST_BYTES = 4096
LONGEST_TOPIC = 300
# With one good key a machine can ask for a thousand ids a second: the audit is not for that.
AUDITED_REFUSALS_PER_MINUTE = 60
_MINUTE_S = 60.0


@dataclass(slots=True)
class JoinCounters:
    """How machines that asked to join were answered; `unanswered` for want of a place or of the database."""

    joined: int = 0
    refused: int = 0
    unanswered: int = 0


class JoinDesk:
    """Takes requests from the link and answers them in a thread of its own, since each waits for the database.

    Constructing it does nothing.
    """

    def __init__(self, keys: JoinKeys, audit: AuditTrail, topics: Topics, *, is_shared: bool = False) -> None:
        """Take whether other masters answer, too: then the broker gives each request to one of them."""
        self._is_shared = is_shared
        self.counters = JoinCounters()
        self._keys = keys
        self._audit = audit
        self._topics = topics
        self._link: MqttLink | None = None
        self._requests = Decoder(JoinRequest)
        self._waiting: queue.Queue[InboundMessage | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._refusals: deque[float] = deque(maxlen=AUDITED_REFUSALS_PER_MINUTE)
        self._due = OncePer(_MINUTE_S)

    def attach(self, link: MqttLink) -> None:
        """Subscribe, on this and every later connection of the link, and answer over it."""
        self._link = link
        requests = self._topics.every_join_request
        link.handle(requests, self._receive)
        link.ask_for(self._topics.shared(requests) if self._is_shared else requests, 1)

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._run, name="join-desk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the answer that it is at; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            while not self._waiting.empty():  # who is not answered asks again
                self._waiting.get_nowait()
            self._waiting.put(None)
            thread.join()

    def _receive(self, message: InboundMessage) -> None:
        if message.retained or not message.payload or len(message.topic) > LONGEST_TOPIC:
            return  # a question is asked once, by somebody who waits for the answer
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self._unanswered(f"{MAX_WAITING} wait already")

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None:
            self._answer_or_tell(message)

    def _answer_or_tell(self, message: InboundMessage) -> None:
        try:
            self._answer(message)
        except Exception:
            self.counters.unanswered += 1
            if self._due("failed"):
                logger.exception("a machine that asked to join was not answered")

    def _answer(self, message: InboundMessage) -> None:
        try:
            if len(message.payload) > MAX_REQUEST_BYTES:
                raise InvalidPayloadError(f"{len(message.payload)} bytes, at most {MAX_REQUEST_BYTES} are taken")
            request = self._requests.decode(message.payload)
        except InvalidPayloadError as error:
            self._refused(None, None, str(error))
            self._reply(message.topic, JoinReply(error=str(error)[:1000]))
            return
        try:
            joined = self._keys.use(request)
        except JoinRefusedError as error:
            self._refused(request, error.key_id, str(error))
            reply = JoinReply(error=str(error)[:1000], worker_id=request.worker_id)
        except GpumonError as error:
            self._unanswered(str(error))
            return
        else:
            if not joined.is_repeated:
                self.counters.joined += 1
                logger.info("%s has joined (%r, join key %s)", joined.worker_id, request.hostname, joined.key_id)
            reply = JoinReply(token=joined.token, worker_id=joined.worker_id)
        self._reply(message.topic, reply)

    def _reply(self, topic: str, reply: JoinReply) -> None:
        client_id = topic.rpartition("/")[2]
        if self._link is not None:
            self._link.publish(self._topics.join_reply(client_id), encode(reply), qos=1)

    def _refused(self, request: JoinRequest | None, key_id: str | None, reason: str) -> None:
        self.counters.refused += 1
        worker_id, hostname = (request.worker_id, request.hostname) if request else (None, None)
        if self._due(f"refused {key_id}"):
            logger.warning("a machine (%r, asking to be %r) may not join: %s", hostname, worker_id, reason)
        now = time.monotonic()
        if len(self._refusals) == AUDITED_REFUSALS_PER_MINUTE and now - self._refusals[0] < _MINUTE_S:
            return
        self._refusals.append(now)
        self._audit.add_soon(
            STRANGER, "worker.join_refused", worker_id, hostname=hostname, join_key=key_id, reason=reason[:300]
        )

    def _unanswered(self, reason: str) -> None:
        """Leave a machine without an answer, so that it asks again."""
        self.counters.unanswered += 1
        if self._due("unanswered"):
            logger.error("machines that ask to join are not answered for now: %s", reason)
