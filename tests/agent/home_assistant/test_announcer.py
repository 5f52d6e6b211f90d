"""What an agent has announced to Home Assistant stands at the broker as long as it is true, and no longer."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cards import KnownCards
from agent.home_assistant import announcer
from agent.home_assistant.announcer import Announcer
from agent.home_assistant.record import RECORD_FILE
from agent.samplers.base import Inventory, Readings
from gpumon.link import InboundMessage, MqttLink
from gpumon.messages import Event, GpuInventory, GpuReading, Source
from gpumon.topics import Topics
from tests.agent.home_assistant.support import CARD, CARD_TOPIC, ONE, OTHER, OTHER_CARD, WORKER_TOPIC
from tests.agent.runtime.support import address, make_node, running
from tests.support import eventually, free_port, mosquitto

pytestmark = pytest.mark.mosquitto

OTHER_TOPIC = f"homeassistant/device/gpumon_w1_{OTHER}/config"


class Cards:
    """A source with the cards that a test puts in."""

    source: Source = "nvml"

    def __init__(self, *gpus: GpuInventory) -> None:
        self.gpus = gpus

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def inventory(self) -> Inventory:
        return Inventory(gpus=self.gpus)

    def read(self) -> Readings:
        return Readings(gpus=tuple(GpuReading(uuid=gpu.uuid, index=gpu.index, name=gpu.name) for gpu in self.gpus))

    def waits_for(self) -> str | None:
        return None

    def events(self) -> list[Event]:
        return []


class Broker:
    """What stands at a broker under Home Assistant's prefix, and every message that has come there."""

    def __init__(self, port: int) -> None:
        self.messages: list[InboundMessage] = []
        self.link = MqttLink(address(port), "broker-eye")
        self.link.subscribe("homeassistant/#", 1, self.messages.append)

    def retained(self) -> dict[str, bytes]:
        stands: dict[str, bytes] = {}
        for message in list(self.messages):
            stands[message.topic] = message.payload
        return {topic: payload for topic, payload in stands.items() if payload}

    def count(self, topic: str) -> int:
        return sum(message.topic == topic for message in list(self.messages))


@pytest.fixture
def broker(mosquitto_port: int) -> Iterator[Broker]:
    eye = Broker(mosquitto_port)
    eye.link.start()
    eventually(lambda: eye.link.is_listening)
    yield eye
    eye.link.stop(1.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer, "BIRTH_JITTER_S", (0.0, 0.1))
    monkeypatch.setattr(announcer, "CLEARED_S", 0.2)
    monkeypatch.setattr(announcer, "REPEAT_S", 0.5)


@contextlib.contextmanager
def agent(port: int, folder: Path, *cards: GpuInventory, worker_id: str = "w1", **more: Any) -> Iterator[Cards]:
    """Run a worker that announces its cards; it keeps its state in its own part of the folder."""
    own = folder / "agent" / worker_id
    own.mkdir(parents=True, exist_ok=True)
    known = KnownCards(own / "cards.json")
    known.load()
    extension = Announcer(worker_id, Topics(), own, known.inventory, {}, **more)
    sampler = Cards(*cards)
    node = make_node(port, folder, sampler=sampler, extensions=[extension])
    node._sampling._cards = known
    with running(node):
        yield sampler


def test_the_worker_comes_first_and_its_cards_follow(mosquitto_port: int, broker: Broker, tmp_path: Path) -> None:
    with agent(mosquitto_port, tmp_path, CARD, OTHER_CARD):
        eventually(lambda: broker.count(OTHER_TOPIC) > 0)
        assert [message.topic for message in broker.messages][:3] == [WORKER_TOPIC, CARD_TOPIC, OTHER_TOPIC]
    assert set(broker.retained()) == {WORKER_TOPIC, CARD_TOPIC, OTHER_TOPIC}


def test_everything_is_sent_again_when_home_assistant_says_that_it_is_there(
    mosquitto_port: int, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "REPEAT_S", 1000.0)
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: broker.count(CARD_TOPIC) > 0)
        before = broker.count(CARD_TOPIC)
        broker.link.publish("homeassistant/status", b"offline", qos=1)
        broker.link.publish("homeassistant/status", b"online", qos=1)
        eventually(lambda: broker.count(CARD_TOPIC) == before + 1)
        assert len({message.payload for message in broker.messages if message.topic == CARD_TOPIC}) == 1


def test_everything_is_sent_once_more_for_brokers_that_learn_of_cards_first(
    mosquitto_port: int, broker: Broker, tmp_path: Path
) -> None:
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: broker.count(CARD_TOPIC) >= 2)


def test_a_broker_that_has_forgotten_everything_is_told_again(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        for start in range(2):
            with mosquitto(tmp_path, port):
                eye = Broker(port)
                eye.link.start()
                if start == 0:
                    stack.enter_context(agent(port, tmp_path, CARD))
                eventually(lambda: set(eye.retained()) == {WORKER_TOPIC, CARD_TOPIC})  # noqa: B023 - waits here
                eye.link.stop(1.0)


def test_a_lost_card_stays_announced_also_after_a_restart(mosquitto_port: int, broker: Broker, tmp_path: Path) -> None:
    with agent(mosquitto_port, tmp_path, CARD, OTHER_CARD) as machine:
        eventually(lambda: len(broker.retained()) == 3)
        before = broker.retained()[OTHER_TOPIC]
        machine.gpus = (CARD,)
        seen = broker.count(OTHER_TOPIC)
        eventually(lambda: broker.count(OTHER_TOPIC) > seen)
        assert broker.retained()[OTHER_TOPIC] == before
    with agent(mosquitto_port, tmp_path, CARD):
        seen = broker.count(OTHER_TOPIC)
        eventually(lambda: broker.count(OTHER_TOPIC) > seen)
        assert broker.retained()[OTHER_TOPIC] == before


def test_a_card_that_was_retired_is_cleared(mosquitto_port: int, broker: Broker, tmp_path: Path) -> None:
    with agent(mosquitto_port, tmp_path, CARD, OTHER_CARD):
        eventually(lambda: len(broker.retained()) == 3)
    (tmp_path / "agent" / "w1" / "cards.json").unlink()
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: set(broker.retained()) == {WORKER_TOPIC, CARD_TOPIC})
        record = tmp_path / "agent" / "w1" / RECORD_FILE
        eventually(lambda: OTHER not in record.read_text())


def test_without_home_assistant_what_an_earlier_run_has_announced_is_cleared(
    mosquitto_port: int, broker: Broker, tmp_path: Path
) -> None:
    record = tmp_path / "agent" / "w1" / RECORD_FILE
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: len(broker.retained()) == 2)
        assert record.exists()
    with agent(mosquitto_port, tmp_path, CARD, is_enabled=False):
        eventually(lambda: not broker.retained())
        eventually(lambda: not record.exists())


def test_a_machine_that_was_given_another_worker_id_leaves_nothing_under_the_old_one(
    mosquitto_port: int, broker: Broker, tmp_path: Path
) -> None:
    with agent(mosquitto_port, tmp_path, CARD, OTHER_CARD, worker_id="old"):
        eventually(lambda: len(broker.retained()) == 3)
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: set(broker.retained()) == {WORKER_TOPIC, CARD_TOPIC})
    assert not (tmp_path / "agent" / "old" / RECORD_FILE).exists()


def test_an_agent_beside_this_one_is_not_taken_for_its_earlier_name(
    mosquitto_port: int, broker: Broker, tmp_path: Path
) -> None:
    for worker_id, card in (("runs", CARD), ("has-other-cards", OTHER_CARD)):
        with agent(mosquitto_port, tmp_path, card, worker_id=worker_id):
            eventually(lambda: any(worker_id in topic for topic in broker.retained()))  # noqa: B023 - waits here
    beside = set(broker.retained())
    with (tmp_path / "agent" / "runs" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with agent(mosquitto_port, tmp_path, CARD):
            eventually(lambda: set(broker.retained()) == beside | {WORKER_TOPIC, CARD_TOPIC})


def test_a_record_that_is_damaged_is_told_of_and_written_anew(
    mosquitto_port: int, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = tmp_path / "agent" / "w1" / RECORD_FILE
    record.parent.mkdir(parents=True)
    record.write_bytes(b'{"topics": 3}')
    with agent(mosquitto_port, tmp_path, CARD):
        eventually(lambda: len(broker.retained()) == 2)
    assert "what Home Assistant was told before is not known" in caplog.text
    assert ONE in record.read_text()
