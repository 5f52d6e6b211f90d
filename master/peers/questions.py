"""Questions that one master asks another: what only a worker's keeper, or the leader, can answer or do."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from gpumon.errors import GpumonError
from master.peers.channel import PeerChannel
from master.peers.messages import Answered, Asked

logger = logging.getLogger(__name__)

ANSWERED_WITHIN_S = 3.0
MAX_WAITING = 1000
THREADS = 3

Answerer = Callable[[bytes], bytes]


class NoAnswerError(GpumonError):
    """The other master did not answer in time, or Redis is away."""

    see = "scaling.md#when-something-goes"


class RefusedError(GpumonError):
    """The other master has answered that it cannot or may not; the message says why."""

    see = "scaling.md#when-something-goes"


@dataclass(slots=True)
class _Open:
    done: threading.Event
    answer: Answered | None = None


class Questions:
    """Asks, and answers what others ask in threads of its own. Constructing it does nothing."""

    def __init__(self, channel: PeerChannel) -> None:
        self._channel = channel
        self._answerers: dict[str, Answerer] = {}
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._threads: list[threading.Thread] = []

    def answer_with(self, what: str, answerer: Answerer) -> None:
        """Have questions of this name answered; a GpumonError becomes the other's RefusedError."""
        self._answerers[what] = answerer

    def start(self) -> None:
        """Begin to answer."""
        for number in range(THREADS):  # to try a channel takes up to 15 s
            thread = threading.Thread(target=self._run, name=f"peers-answers-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End after the answers that it is at; safe to call twice."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._waiting.put(None)
        for thread in threads:
            thread.join(ANSWERED_WITHIN_S)

    def ask(self, instance: str, what: str, body: bytes, within_s: float = ANSWERED_WITHIN_S) -> bytes:
        """Return what another master answers. Raises NoAnswerError, RefusedError."""
        if not self._channel.is_whole:
            raise NoAnswerError(self._channel.problem or "Redis is away")
        number = secrets.token_hex(8)
        waiting = _Open(threading.Event())
        with self._lock:
            self._open[number] = waiting
        try:
            self._channel.send(Asked(number, what, body), to=instance)
            waiting.done.wait(within_s)
        finally:
            with self._lock:
                del self._open[number]
        if waiting.answer is None:
            raise NoAnswerError(f"master {instance} does not answer: try again in a moment")
        if waiting.answer.problem is not None:
            raise RefusedError(waiting.answer.problem)
        return waiting.answer.body

    def take(self, sender: str, message: Asked | Answered) -> None:
        """Take in a question to this master, or an answer."""
        if isinstance(message, Answered):
            with self._lock:
                waiting = self._open.get(message.number)
            if waiting is not None:
                waiting.answer = message
                waiting.done.set()
            return
        self.soon(lambda: self._channel.send(self._answered(message), to=sender))

    def soon(self, action: Callable[[], None]) -> None:
        """Have something done in one of the threads that answer, since it may have to wait for the database."""
        try:
            self._waiting.put_nowait(action)
        except queue.Full:
            logger.warning("too much waits to be done for other masters: something is left out")

    def _run(self) -> None:
        while (action := self._waiting.get()) is not None:
            self._do(action)

    @staticmethod
    def _do(action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            logger.exception("something could not be done for another master")

    def _answered(self, asked: Asked) -> Answered:
        try:
            answerer = self._answerers.get(asked.what)
            if answerer is None:
                return Answered(asked.number, b"", f"this master does not know what {asked.what!r} is: update it")
            return Answered(asked.number, answerer(asked.body))
        except GpumonError as error:
            return Answered(asked.number, b"", str(error))
        except Exception as error:
            logger.exception("a question of another master could not be answered")
            return Answered(asked.number, b"", f"the other master failed: {type(error).__name__}")
