"""Machines that ask the running master over MQTT to let them join."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gpumon.datafolder import DataFolder
from master.audit import Actor
from master.join_desk import AUDITED_REFUSALS_PER_MINUTE, MAX_REQUEST_BYTES
from master.join_keys import JoinKeys
from master.master import Master
from master.store.engine import Store
from master.store.models import AuditRow
from tests.master.support import Publisher, running_master
from tests.support import eventually

pytestmark = pytest.mark.mosquitto

EVE = Actor("eve", "cli")
NONCE = "n" * 43


class Stranger:
    """A machine that asks, with a client id of its own."""

    def __init__(self, publisher: Publisher, client_id: str = "stranger-1") -> None:
        self._publisher = publisher
        self._topic = f"gpumon/join/{client_id}"
        publisher.hear(f"{self._topic}/reply")

    def ask(self, payload: Any) -> dict[str, str]:
        """Ask, and return the answer."""
        before = len(self.replies())
        self._publisher.publish(self._topic, payload)
        return eventually(lambda: self.replies()[before:])[0]

    def say(self, payload: Any, *, retain: bool = False) -> None:
        """Ask without waiting for the answer."""
        self._publisher.publish(self._topic, payload, retain=retain)

    def replies(self) -> list[dict[str, str]]:
        """Return the answers so far."""
        mine = f"{self._topic}/reply"
        return [json.loads(payload) for topic, payload in list(self._publisher.received) if topic == mine]


@pytest.fixture
def stranger(publisher: Publisher) -> Stranger:
    return Stranger(publisher)


@pytest.fixture
def store(master: Master, data: DataFolder) -> Iterator[Store]:
    """The running master's database, as another process opens it."""
    opened = Store(data)
    yield opened
    opened.stop()


@pytest.fixture
def keys(store: Store) -> JoinKeys:
    return JoinKeys(store)


def question(key: str, worker_id: str = "gpu1", **more: Any) -> dict[str, Any]:
    return {"worker_id": worker_id, "hostname": "gpu1.lab", "key": key, **more}


def audited(store: Store, action: str) -> list[dict[str, Any]]:
    query = select(AuditRow.subject, AuditRow.detail).where(AuditRow.action == action).order_by(AuditRow.seq)
    with store.read() as connection:
        rows = connection.execute(query).all()
    return [{"subject": subject, **json.loads(detail or "{}")} for subject, detail in rows]


def test_a_machine_with_a_key_is_answered_with_its_token(
    master: Master, keys: JoinKeys, store: Store, stranger: Stranger
) -> None:
    made, key = keys.make(EVE)
    reply = stranger.ask(question(key))
    assert reply.keys() == {"token", "worker_id"}
    assert reply["worker_id"] == "gpu1"
    assert master.accounts.authenticate("gpu1", reply["token"])
    assert audited(store, "worker.joined") == [
        {"subject": "gpu1", "hostname": "gpu1.lab", "join_key": made.id, "replaced": False}
    ]
    assert master.joining.counters.joined == 1


def test_each_machine_is_answered_on_its_own_topic(master: Master, keys: JoinKeys, publisher: Publisher) -> None:
    _, key = keys.make(EVE, uses=2)
    one, other = Stranger(publisher, "one"), Stranger(publisher, "other")
    first, second = one.ask(question(key, "gpu1")), other.ask(question(key, "gpu2"))
    assert first["token"] != second["token"]
    assert len(one.replies()) == len(other.replies()) == 1


def test_a_refusal_says_why_and_is_audited(
    master: Master, keys: JoinKeys, store: Store, stranger: Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    made, key = keys.make(EVE)
    master.accounts.add_worker("gpu1")
    with caplog.at_level(logging.INFO):
        assert "gpu1 is taken" in stranger.ask(question(key))["error"]
        assert "not known" in stranger.ask(question("gpj_wrong"))["error"]
    rows = eventually(lambda: rows if len(rows := audited(store, "worker.join_refused")) == 2 else [])
    assert [(row["subject"], row["join_key"], row["hostname"]) for row in rows] == [
        ("gpu1", made.id, "gpu1.lab"),
        ("gpu1", None, "gpu1.lab"),
    ]
    assert "gpu1 is taken" in rows[0]["reason"]
    assert "may not join" in caplog.text
    assert key not in caplog.text
    assert master.joining.counters.refused == 2


def test_who_asks_again_since_the_answer_was_lost_gets_the_same(
    master: Master, keys: JoinKeys, store: Store, stranger: Stranger
) -> None:
    _, key = keys.make(EVE)
    first, again = stranger.ask(question(key, nonce=NONCE)), stranger.ask(question(key, nonce=NONCE))
    assert first == again
    assert len(audited(store, "worker.joined")) == 1
    assert "used up" in stranger.ask(question(key, nonce="m" * 43))["error"]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\x00",
        "online",
        "[]",
        "{}",
        {"worker_id": "gpu1", "hostname": "h", "key": ""},
        {"worker_id": "gpu1", "hostname": "h" * 300, "key": "k"},
        {"worker_id": "gpu1", "hostname": "h", "key": "k", "nonce": "short"},
        b"[" * 4000,
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_answered(
    master: Master, keys: JoinKeys, stranger: Stranger, payload: Any
) -> None:
    assert "error" in stranger.ask(payload)
    _, key = keys.make(EVE)
    assert "token" in stranger.ask(question(key))


def test_retained_and_empty_requests_are_passed_over(master: Master, keys: JoinKeys, stranger: Stranger) -> None:
    _, key = keys.make(EVE)
    stranger.say("")
    assert "token" in stranger.ask(question(key))
    assert len(stranger.replies()) == 1


def test_a_request_that_the_broker_has_retained_lets_nobody_in(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher
) -> None:
    with running_master(tmp_path / "data", mosquitto_port):
        store = Store(DataFolder(tmp_path / "data"))
        _, key = JoinKeys(store).make(EVE)
        store.stop()
    Stranger(publisher).say(question(key), retain=True)
    with running_master(tmp_path / "data", mosquitto_port) as master:
        assert "token" in Stranger(publisher, "two").ask(question(key, "gpu2"))
        assert [account.worker_id for account in master.accounts.workers()] == ["gpu2"]


def test_a_flood_of_refusals_does_not_fill_the_audit_nor_hurt_others(
    master: Master, keys: JoinKeys, store: Store, publisher: Publisher, stranger: Stranger
) -> None:
    _, key = keys.make(EVE)
    for number in range(AUDITED_REFUSALS_PER_MINUTE + 50):
        stranger.say(question("gpj_wrong", f"gpu{number}"))
    assert "token" in Stranger(publisher, "honest").ask(question(key))
    assert master.joining.counters.refused == AUDITED_REFUSALS_PER_MINUTE + 50
    assert master.flush()
    eventually(lambda: len(audited(store, "worker.join_refused")) == AUDITED_REFUSALS_PER_MINUTE)


def test_answers_are_not_retained(master: Master, keys: JoinKeys, stranger: Stranger, mosquitto_port: int) -> None:
    _, key = keys.make(EVE)
    stranger.ask(question(key))
    later = Publisher(mosquitto_port)
    later.hear("gpumon/join/#")
    later.publish("gpumon/join/x/reply", "the only one")
    eventually(lambda: later.received)
    assert later.received == [("gpumon/join/x/reply", b"the only one")]
    later.stop()
