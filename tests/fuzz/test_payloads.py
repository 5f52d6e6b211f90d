"""What workers, operators and strangers publish: an agent and a master that take in anything."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from agent.command_conditions import CommandConditions
from agent.command_rules import CommandRules
from agent.journal import Journal
from agent.publisher import Publisher
from agent.runner import CommandRunner
from agent.samplers.base import SamplerError
from agent.samplers.nvidia_smi_xml import parse
from gpumon.address import BrokerAddress
from gpumon.commands import CommandAudit, CommandOutput, CommandResult
from gpumon.datafolder import DataFolder
from gpumon.errors import InvalidPayloadError
from gpumon.joining import JoinReply, JoinRequest
from gpumon.link import Delivery, InboundMessage
from gpumon.messages import Decoder, Event, Info, Metrics, decode_status, encode
from gpumon.settings import Settings
from gpumon.topics import Channel, Topics
from master.master import Master
from tests.fuzz.fuzzing import fuzzed, mutated, nearly
from tests.fuzz.test_topics import topics
from tests.master.support import gpu, info, output, result, sample
from tests.support import free_port

TOPICS = Topics()
EVENT = {"v": 1, "time": 1766500000.0, "kind": "xid", "gpu": "GPU-0", "value": 79, "text": "fell off the bus"}
COMMAND = {"id": "c-1", "command": "ls", "timeout_s": 60, "expires_at": 1766500060, "by": "lena", "cancel": False}
AUDIT = {"v": 1, "time": 1.0, "user": "lena", "topic": "gpumon/w1/cmd", "command": "ls", "address": "::1", "id": "c-1"}
REQUEST = {"worker_id": "w1", "hostname": "gpu1.lab", "key": "gpj_1", "nonce": "n" * 20}
SHAPES: dict[str, tuple[type[msgspec.Struct], dict[str, Any]]] = {
    "metrics": (Metrics, sample()),
    "info": (Info, info()),
    "event": (Event, EVENT),
    "cmd/output": (CommandOutput, output("c-1", 0, "x")),
    "cmd/result": (CommandResult, result("c-1")),
    "audit": (CommandAudit, AUDIT),
    "join": (JoinRequest, REQUEST),
    "reply": (JoinReply, {"token": "t", "error": "e", "worker_id": "w1"}),
}
SENT = {name: example for name, (_, example) in SHAPES.items()} | {"cmd": COMMAND}

payloads = {name: nearly(example) for name, example in SENT.items()}
payloads["metrics"] = st.one_of(
    payloads["metrics"],
    nearly(gpu()).map(lambda card: msgspec.json.encode(sample()).replace(msgspec.json.encode([gpu()]), b"[%b]" % card)),
)
payloads["status"] = st.sampled_from([b"online", b"offline", b"", b"Online", b"online\n", b"\xff", b'"online"'])
anything = st.one_of([st.tuples(st.just(name), each) for name, each in payloads.items()])


@fuzzed("payloads", weight=10, sent=anything)
def test_a_payload_is_read_whole_or_refused_and_what_was_read_can_be_sent_again(sent: tuple[str, bytes]) -> None:
    name, payload = sent
    if name == "status":
        with pytest.raises(InvalidPayloadError) if payload not in (b"online", b"offline") else _nothing():
            decode_status(payload)
        return
    if name == "cmd":
        return
    decoder: Decoder[Any] = Decoder(SHAPES[name][0])
    try:
        message = decoder.decode(payload)
    except InvalidPayloadError:
        return
    assert decoder.decode(encode(message)) == message


class SilentLink:
    """A link on which nothing arrives, and all that is sent is at once at the broker."""

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        return bool(topic and qos + retain >= 0 and payload is not None)

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> Delivery:
        assert self.publish(topic, payload, retain=retain)
        return _Arrived()


class _Arrived(Delivery):
    is_dropped = False
    is_acknowledged = True

    def __init__(self) -> None: ...


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandRunner]:
    """An agent's runner that runs nothing: it decides, and refuses."""
    publisher = Publisher(SilentLink(), TOPICS, "w1")  # type: ignore[arg-type]
    journal = Journal(tmp_path_factory.mktemp("agent") / "commands.jsonl")
    runner = CommandRunner(publisher, journal, CommandRules("none"), CommandConditions({}))
    journal.open()
    yield runner
    journal.close()


@fuzzed("agent", weight=2, payload=st.one_of(payloads["cmd"], payloads["cmd/result"]), retained=st.booleans())
def test_an_agent_takes_in_anything_that_is_sent_as_a_command(
    runner: CommandRunner, payload: bytes, *, retained: bool
) -> None:
    runner._handle(InboundMessage("gpumon/w1/cmd", payload, retained))
    assert not runner._running


LINES = Path(__file__).parent.parent / "agent" / "sampling" / "fixtures" / "healthy.xml"


@fuzzed("nvidia-smi", xml=mutated(st.just(LINES.read_bytes()[:4000] + b"</gpu></nvidia_smi_log>")))
def test_what_nvidia_smi_prints_is_read_or_refused(xml: bytes) -> None:
    with contextlib.suppress(SamplerError):
        parse(xml.decode(errors="replace"))


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """A whole master, whose broker is not there: messages are put in where its link would."""
    folder = DataFolder(tmp_path_factory.mktemp("fuzzed") / "data")
    master = Master(Settings(), folder, BrokerAddress("127.0.0.1", free_port(), tls=False), None)
    master.start()
    yield master
    assert master.flush(30)
    master.stop()


topics_of_workers = st.builds(
    TOPICS.worker, st.sampled_from(["w1", "w2", "all", "x y", "join"]), st.sampled_from(list(Channel))
)


@fuzzed(
    "master",
    weight=10,
    channel=st.sampled_from(list(Channel)),
    topic=st.one_of(topics_of_workers, topics),
    sent=anything,
    retained=st.booleans(),
)
def test_a_master_takes_in_anything_and_counts_it(
    master: Master, channel: Channel, topic: str, sent: tuple[str, bytes], *, retained: bool
) -> None:
    counters = master.counters
    received, rejected = dict(counters.received), dict(counters.rejected)
    master._ingest._receive(channel, InboundMessage(topic, sent[1], retained))
    assert _grown(received, counters.received) == {channel.value: 1}
    assert _grown(rejected, counters.rejected) in ({}, {channel.value: 1})


@fuzzed("master", weight=3, payload=payloads["audit"], retained=st.booleans())
def test_a_master_takes_in_anything_as_the_brokers_word(master: Master, payload: bytes, *, retained: bool) -> None:
    counters = master.counters
    rejected = dict(counters.rejected)
    master._ingest._receive_audit(InboundMessage("gpumon/audit", payload, retained))
    assert _grown(rejected, counters.rejected) in ({}, {"audit": 1})


def test_after_all_that_a_master_still_takes_in_what_is_right(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for channel, payload in ((Channel.INFO, info()), (Channel.METRICS, sample(seq=2**40, at=time.time()))):
            message = InboundMessage(TOPICS.worker("right", channel), msgspec.json.encode(payload), retained=False)
            master._ingest._receive(channel, message)
    worker = master.fleet.worker("right")
    assert worker is not None
    assert worker.last_seen is not None
    assert worker.rejected_payloads == 0
    assert master.store_problem is None
    assert not caplog.records


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}


class _nothing:  # noqa: N801 - stands where pytest.raises does
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
