"""The way between masters: what comes through, and what is done where Redis is slow, gone or shared with others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.queue_address import QueueAddress
from master.peers import channel as channel_module
from master.peers.channel import PeerChannel
from master.peers.messages import Envelope, Samples
from master.peers.questions import NoAnswerError, Questions, RefusedError
from tests.master.telling.services import silent_port
from tests.peers.support import RedisServer, redis_server
from tests.support import eventually


class Member:
    """A master's end of the channel."""

    def __init__(self, port: int) -> None:
        self.heard: list[Envelope] = []
        address = QueueAddress("127.0.0.1", port, 0, tls=False, user=None, password=None, cafile=None)
        self.channel = PeerChannel(address, self._take)
        self.questions = Questions(self.channel)

    def is_whole(self) -> bool:
        self.channel.pulse(leads=False)
        return self.channel.is_whole

    def samples(self) -> list[tuple[str, bytes]]:
        messages = [envelope.message for envelope in self.heard]
        return [each for message in messages if isinstance(message, Samples) for each in message.samples]

    def _take(self, envelope: Envelope) -> None:
        if not isinstance(envelope.message, Samples):
            self.questions.take(envelope.sender, envelope.message)  # type: ignore[arg-type]
        self.heard.append(envelope)


@contextlib.contextmanager
def member(port: int, instance: str, installation: str = "ours") -> Iterator[Member]:
    it = Member(port)
    it.channel.start(instance, installation)
    it.questions.start()
    yield it
    it.questions.stop()
    it.channel.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def test_samples_come_to_all_others_of_the_installation_as_they_were_and_to_nobody_else(redis: RedisServer) -> None:
    with member(redis.port, "one") as one, member(redis.port, "two") as two, member(redis.port, "x", "theirs") as other:
        eventually(lambda: all(each.is_whole() for each in (one, two, other)))
        sent = [(f"w{number}", b'{"v": 1}' * number) for number in range(1200)]
        for worker_id, payload in sent:
            one.channel.send_sample(worker_id, payload)
        eventually(lambda: len(two.samples()) == len(sent))
        assert two.samples() == sent
        assert one.samples() == other.samples() == []
        assert two.channel.missed_batches == two.channel.dropped_samples == 0


def test_a_question_is_answered_refused_or_given_up(redis: RedisServer) -> None:
    with member(redis.port, "one") as one, member(redis.port, "two") as two:
        eventually(lambda: one.is_whole() and two.is_whole())
        two.questions.answer_with("double", lambda body: body * 2)
        assert one.questions.ask("two", "double", b"ab") == b"abab"
        with pytest.raises(RefusedError, match="does not know"):
            one.questions.ask("two", "triple", b"")
        with pytest.raises(NoAnswerError, match="does not answer"):
            one.questions.ask("nobody", "double", b"", within_s=0.2)


def test_a_master_whose_data_folder_was_copied_says_so(redis: RedisServer) -> None:
    with member(redis.port, "same") as one, member(redis.port, "same") as two:
        eventually(lambda: one.is_whole() and two.is_whole())
        eventually(lambda: (one.is_whole(), two.is_whole()) and "was copied" in (one.channel.problem or ""))


def test_what_redis_does_not_take_is_dropped_beyond_a_bound_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_WAITING_BYTES", 1000)
    with silent_port() as port, member(port, "one") as one:
        for number in range(1000):
            one.channel.send_sample(f"w{number}", bytes(100))
        assert one.channel.dropped_samples >= 980
        assert not one.is_whole()
        assert "does not answer" in (one.channel.problem or "")
        with pytest.raises(NoAnswerError, match="does not answer"):
            one.questions.ask("two", "double", b"")
