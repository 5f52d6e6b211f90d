"""What only another master can answer or do: history of a worker that it keeps, its alerts, and telling people."""

from __future__ import annotations

from typing import Any

import msgspec

from gpumon.errors import GpumonError
from master.alerts.desk import AlertDesk
from master.alerts.errors import AlertError
from master.alerts.records import Alert
from master.audit import Actor
from master.history.history import History
from master.history.query import Answer, Question
from master.history.readings import readings_of
from master.peers.peers import Peers
from master.peers.questions import NoAnswerError, RefusedError
from master.telling.telling import TEST_DEADLINE_S, ChannelView, Telling

_HISTORY, _ACKNOWLEDGE, _UNACKNOWLEDGE = "history", "acknowledge", "unacknowledge"
_CHANNELS, _TRY_CHANNEL = "channels", "try channel"

_encode = msgspec.msgpack.encode


class _Asked(msgspec.Struct, frozen=True):
    """A question to history."""

    worker_id: str
    key: str
    readings: list[str]
    start: float
    end: float
    points: int


class _Marked(msgspec.Struct, frozen=True):
    """An alert that somebody has seen, or not."""

    alert_id: str
    by: Actor
    note: str = ""


class _Tried(msgspec.Struct, frozen=True):
    """A channel to be tried."""

    name: str
    by: Actor


class Others:
    """Asks other masters, and answers them. Constructing it does nothing."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def answer_for(self, history: History, alerts: AlertDesk, telling: Telling) -> None:
        """Have what others ask of this master answered by these."""

        def answer_history(body: bytes) -> bytes:
            asked = msgspec.msgpack.decode(body, type=_Asked)
            known = {reading.name: reading for reading in readings_of(asked.key)}
            readings = tuple(known[name] for name in asked.readings)
            question = Question(asked.worker_id, asked.key, readings, asked.start, asked.end, asked.points)
            return _encode(history.ask_here(question))

        def acknowledge(body: bytes) -> bytes:
            asked = msgspec.msgpack.decode(body, type=_Marked)
            return _encode(alerts.acknowledge(asked.alert_id, asked.by, asked.note))

        def unacknowledge(body: bytes) -> bytes:
            asked = msgspec.msgpack.decode(body, type=_Marked)
            return _encode(alerts.unacknowledge(asked.alert_id, asked.by))

        def try_channel(body: bytes) -> bytes:
            asked = msgspec.msgpack.decode(body, type=_Tried)
            return _encode(telling.test_here(asked.name, asked.by))

        questions = self._peers.questions
        questions.answer_with(_HISTORY, answer_history)
        questions.answer_with(_ACKNOWLEDGE, acknowledge)
        questions.answer_with(_UNACKNOWLEDGE, unacknowledge)
        questions.answer_with(_CHANNELS, lambda _body: _encode(telling.channels_here()))
        questions.answer_with(_TRY_CHANNEL, try_channel)

    def history(self, question: Question) -> Answer | None:
        """Return what the worker's keeper has, None where this master keeps it, or the other does not answer.

        Then the database answers, which has whole minutes.
        """
        keeper = self._peers.keeper(question.worker_id)
        if keeper is None:
            return None
        names = [reading.name for reading in question.readings]
        asked = _Asked(question.worker_id, question.key, names, question.start, question.end, question.points)
        try:
            told = self._peers.questions.ask(keeper, _HISTORY, _encode(asked))
        except GpumonError:
            return None
        return msgspec.msgpack.decode(told, type=Answer)

    def acknowledge(self, alert: Alert, by: Actor, note: str) -> Alert:
        """Have the worker's keeper note that somebody has seen the alert. Raises AlertError, NoAnswerError."""
        return self._mark(_ACKNOWLEDGE, alert, _Marked(alert.id, by, note))

    def unacknowledge(self, alert: Alert, by: Actor) -> Alert:
        """Have the worker's keeper take that back. Raises AlertError, NoAnswerError."""
        return self._mark(_UNACKNOWLEDGE, alert, _Marked(alert.id, by))

    def channels(self) -> list[ChannelView] | None:
        """Return the leader's channels, None where this master leads. Raises NoAnswerError."""
        if self._peers.leads:
            return None
        return msgspec.msgpack.decode(self._ask_leader(_CHANNELS, None), type=list[ChannelView])

    def try_channel(self, name: str, by: Actor) -> str | None:
        """Have the leader send a test message, and return what was wrong. Raises AlertError, NoAnswerError."""
        told = self._ask_leader(_TRY_CHANNEL, _Tried(name, by), TEST_DEADLINE_S + 2.0)
        return msgspec.msgpack.decode(told, type=str | None)

    def _ask_leader(self, what: str, body: object, within_s: float = 3.0) -> bytes:
        leader = self._peers.leader
        if leader is None:
            raise NoAnswerError(self._peers.problem or "no master leads just now: try again in a moment")
        try:
            return self._peers.questions.ask(leader, what, _encode(body), within_s)
        except RefusedError as error:
            raise AlertError(str(error)) from error

    def _mark(self, what: str, alert: Alert, body: Any) -> Alert:
        keeper = self._peers.keeper(alert.worker_id)
        if keeper is None:
            raise NoAnswerError(
                "the alert's worker is just being taken over from another master: try again in a moment"
            )
        try:
            told = self._peers.questions.ask(keeper, what, _encode(body))
        except RefusedError as error:
            raise AlertError(str(error)) from error
        return msgspec.msgpack.decode(told, type=Alert)
