"""Commands that the desk did not send, lost ones, and how long all are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gpumon.commands import Command, CommandAudit, CommandOutput, CommandResult
from master.bus import EventBus
from master.command_intake import CommandIntake
from master.fleet import Fleet
from master.ledger import Ledger
from master.master import Master
from master.records import CommandRecord, OutputChunk
from master.store.command_store import CommandStore
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer
from tests.master.support import Publisher, output, result
from tests.support import eventually

NOW = 1_766_500_000.0


@dataclass
class Desk:
    """The book of commands and what feeds it, with a clock that the test turns."""

    store: Store
    writer: Writer
    now: float = NOW
    trusts_senders: bool = False
    bus: EventBus = field(default_factory=EventBus)

    def open(self) -> None:
        self.commands = CommandStore(self.store, self.writer)
        self.ledger = Ledger(self.commands, self.bus, lambda: self.now)
        self.fleet = Fleet(FleetStore(self.store, self.writer), self.bus, lambda: self.now)
        self.intake = CommandIntake(self.ledger, self.fleet, self.bus, trusts_senders=self.trusts_senders)
        self.ledger.start()

    def close(self) -> None:
        self.ledger.stop()
        self.writer.flush()

    def worker(self, *worker_ids: str) -> None:
        for worker_id in worker_ids:
            self.fleet.take_status(worker_id, "online", self.now, retained=False)

    def command(self, command_id: str, command: str = "ls", worker_id: str | None = "w1", **fields: object) -> None:
        self.intake.take_command(Command(id=command_id, command=command, **fields), worker_id, self.now)  # type: ignore[arg-type]

    def output(self, command_id: str, seq: int, data: str, worker_id: str = "w1") -> None:
        self.intake.take_output(worker_id, CommandOutput(id=command_id, seq=seq, stream="stdout", data=data), self.now)

    def result(self, command_id: str, command: str = "ls", worker_id: str = "w1", by: str | None = None) -> None:
        ended = CommandResult(id=command_id, command=command, state="finished", exit_code=0, by=by)
        self.intake.take_result(worker_id, ended, self.now)

    def audit(
        self, user: str, command: str = "ls", worker_id: str | None = "w1", command_id: str | None = None
    ) -> None:
        topic = f"gpumon/{worker_id or 'all'}/cmd"
        audit = CommandAudit(time=self.now, user=user, topic=topic, command=command, id=command_id)
        self.intake.take_audit(audit, worker_id, self.now)

    def record(self, command_id: str) -> CommandRecord:
        record = self.ledger.get(command_id)
        assert record is not None
        return record

    def states(self, command_id: str) -> dict[str, str]:
        return {target.worker_id: target.state for target in self.record(command_id).targets}


@pytest.fixture
def desk(store: Store) -> Iterator[Desk]:
    writer = Writer(store)
    writer.start()
    opened = Desk(store, writer)
    opened.open()
    yield opened
    opened.close()
    writer.stop()


def test_a_command_by_mosquitto_pub_is_recorded_with_the_author_that_the_broker_names(
    master: Master, publisher: Publisher
) -> None:
    publisher.publish("gpumon/w1/status", "online")
    publisher.publish("gpumon/w1/cmd", "nvidia-smi -L")
    publisher.publish(
        "gpumon/audit",
        {"v": 1, "time": time.time(), "user": "eve", "topic": "gpumon/w1/cmd", "id": None, "command": "nvidia-smi -L"},
    )
    publisher.publish("gpumon/w1/cmd/output", output("c-agent1", 0, "GPU 0\n"))
    publisher.publish("gpumon/w1/cmd/result", result("c-agent1", "nvidia-smi -L"))
    eventually(lambda: (record := master.commands.get("c-agent1")) and record.is_ended)
    record = master.commands.get("c-agent1")
    assert record is not None
    assert (record.command, record.by, record.origin) == ("nvidia-smi -L", "eve", "mqtt")
    assert record.targets[0].exit_code == 0
    assert master.commands.output("c-agent1", "w1") == [OutputChunk(0, "stdout", "GPU 0\n")]
    assert master.flush()
    assert [each.id for each in master.commands.recent()] == ["c-agent1"]


def test_a_result_without_a_known_command_is_recorded_without_an_author(desk: Desk) -> None:
    desk.result("c-1", "uptime", by="somebody says so")
    record = desk.record("c-1")
    assert (record.command, record.by, record.origin) == ("uptime", None, "mqtt")
    assert desk.states("c-1") == {"w1": "finished"}


def test_output_without_a_known_command_shows_the_only_one_that_it_can_be(desk: Desk) -> None:
    desk.audit("eve", "make")
    desk.output("c-1", 0, "x")
    assert (desk.record("c-1").command, desk.record("c-1").by) == ("make", "eve")
    assert desk.states("c-1") == {"w1": "running"}


def test_output_that_may_be_of_several_commands_waits_for_the_result(desk: Desk) -> None:
    desk.audit("eve", "make")
    desk.audit("bob", "make test")
    desk.output("c-1", 0, "x")
    assert (desk.record("c-1").command, desk.record("c-1").by) == ("", None)
    desk.result("c-1", "make test")
    assert (desk.record("c-1").command, desk.record("c-1").by) == ("make test", "bob")


def test_the_same_text_twice_goes_to_its_authors_oldest_first(desk: Desk) -> None:
    desk.audit("eve")
    desk.audit("bob")
    desk.audit("mallory", worker_id="w2")
    desk.result("c-1")
    desk.result("c-2")
    desk.result("c-3")
    assert [desk.record(each).by for each in ("c-1", "c-2", "c-3")] == ["eve", "bob", None]


def test_text_to_all_names_its_author_on_each_worker(desk: Desk) -> None:
    desk.audit("eve", worker_id=None)
    desk.result("c-1", worker_id="w1")
    desk.result("c-2", worker_id="w2")
    desk.result("c-3", worker_id="w2")
    assert [desk.record(each).by for each in ("c-1", "c-2", "c-3")] == ["eve", "eve", None]


def test_an_audit_older_than_10_minutes_names_nobody(desk: Desk) -> None:
    desk.audit("eve")
    desk.now += 601
    desk.result("c-1")
    assert desk.record("c-1").by is None


def test_an_audit_that_comes_after_the_result_still_names_the_author(desk: Desk) -> None:
    desk.result("c-1")
    desk.audit("eve")
    desk.result("c-2")
    assert [desk.record(each).by for each in ("c-1", "c-2")] == ["eve", None]


def test_a_command_longer_than_the_audit_keeps_is_matched_by_its_beginning(desk: Desk) -> None:
    command = "echo " + "x" * 10_000
    desk.audit("eve", command[:4096])
    desk.result("c-1", command)
    assert (desk.record("c-1").by, desk.record("c-1").command) == ("eve", command)


@pytest.mark.parametrize("audit_first", [True, False])
def test_an_object_with_an_id_is_recorded_when_sent_and_its_author_is_the_brokers_word(
    *, desk: Desk, audit_first: bool
) -> None:
    desk.worker("w1", "w2")
    if audit_first:
        desk.audit("eve", command_id="c-1")
    desk.command("c-1", by="admin", timeout_s=5.0)
    desk.command("c-1", worker_id="w2", by="admin", timeout_s=5.0)
    if not audit_first:
        desk.audit("eve", command_id="c-1")
    record = desk.record("c-1")
    assert (record.by, record.origin, record.timeout_s) == ("eve", "mqtt", 5.0)
    assert desk.states("c-1") == {"w1": "sent", "w2": "sent"}


def test_an_object_to_all_has_every_worker_that_is_online_as_a_target(desk: Desk) -> None:
    desk.worker("w1", "w2")
    desk.fleet.take_status("w3", "offline", desk.now, retained=False)
    desk.command("c-1", worker_id=None)
    assert desk.states("c-1") == {"w1": "sent", "w2": "sent"}


def test_an_object_to_a_worker_that_is_not_there_has_failed_until_a_result_says_otherwise(desk: Desk) -> None:
    desk.command("c-1")
    assert desk.states("c-1") == {"w1": "failed"}
    desk.result("c-1")
    assert desk.states("c-1") == {"w1": "finished"}


def test_behind_the_embedded_broker_what_nobody_audits_came_from_the_masters_machine(desk: Desk) -> None:
    desk.close()
    desk.trusts_senders = True
    desk.open()
    desk.worker("w1")
    desk.command("c-1", by="root")
    assert (desk.record("c-1").by, desk.record("c-1").origin) == ("root", "cli")
    desk.command("c-2", by="root")
    desk.audit("eve", command_id="c-2")
    assert (desk.record("c-2").by, desk.record("c-2").origin) == ("eve", "mqtt")


def test_behind_a_foreign_broker_the_author_is_not_known_whatever_the_payload_says(desk: Desk) -> None:
    desk.worker("w1")
    desk.command("c-1", by="admin")
    assert (desk.record("c-1").by, desk.record("c-1").origin) == (None, "mqtt")


def test_whoever_cancels_or_repeats_a_command_does_not_become_its_author(desk: Desk) -> None:
    desk.worker("w1")
    desk.command("c-1")
    desk.audit("eve", command_id="c-1")
    desk.audit("bob", command="", command_id="c-1")
    desk.audit("bob", command_id="c-1")
    desk.audit("bob", command="other", command_id="c-1")
    assert desk.record("c-1").by == "eve"


def test_a_target_without_a_result_is_lost_30_s_after_its_timeout(desk: Desk) -> None:
    desk.worker("w1", "w2")
    desk.command("c-1", timeout_s=10.0)
    desk.command("c-1", worker_id="w2", timeout_s=10.0)
    desk.result("c-1", worker_id="w2")
    desk.now += 40
    desk.ledger.tick(desk.now)
    assert desk.states("c-1") == {"w1": "sent", "w2": "finished"}
    desk.now += 1
    desk.ledger.tick(desk.now)
    assert desk.states("c-1") == {"w1": "lost", "w2": "finished"}
    assert desk.record("c-1").targets[0].problem == "no result came within 40 s"


def test_a_result_that_comes_late_replaces_lost(desk: Desk) -> None:
    desk.worker("w1")
    desk.command("c-1")
    desk.now += 1000
    desk.ledger.tick(desk.now)
    desk.ledger.announce()
    assert desk.writer.flush()
    desk.ledger.tick(desk.now)
    assert desk.ledger._running == {}
    desk.result("c-1")
    assert desk.states("c-1") == {"w1": "finished"}
    desk.ledger.announce()
    assert desk.writer.flush()
    stored = desk.commands.get("c-1")
    assert stored == desk.record("c-1")


@pytest.mark.parametrize("running", [True, False])
def test_a_command_is_given_up_after_a_restart_at_the_time_it_would_have_been(*, desk: Desk, running: bool) -> None:
    desk.worker("w1")
    desk.command("c-1")
    if running:
        desk.output("c-1", 0, "x")
    desk.close()
    desk.now += 80
    desk.open()
    desk.ledger.tick(desk.now)
    assert desk.states("c-1") == {"w1": "running" if running else "sent"}
    desk.now += 11
    desk.ledger.tick(desk.now)
    assert desk.states("c-1") == {"w1": "lost"}
    assert desk.ledger.output("c-1", "w1") == ([OutputChunk(0, "stdout", "x")] if running else [])


@pytest.mark.sqlite
def test_commands_are_deleted_when_their_time_is_over_and_the_file_shrinks(desk: Desk) -> None:
    desk.worker("w1")
    for number in range(250):
        desk.command(f"c-{number}")
        desk.output(f"c-{number}", 0, "x" * 10_000)
        desk.result(f"c-{number}")
    desk.command("c-running")
    desk.ledger.announce()
    assert desk.writer.flush()
    desk.now += 86_400
    desk.command("c-new")
    desk.result("c-new")
    desk.ledger.announce()
    assert desk.writer.flush()
    before = pages(desk.store)
    desk.commands.prune(desk.now - 3600)
    assert desk.writer.flush()
    assert sorted(record.id for record in desk.commands.recent(1000)) == ["c-new", "c-running"]
    assert pages(desk.store) < before / 2
    with desk.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM command_targets").scalar() == 2
        assert connection.exec_driver_sql("SELECT count(*) FROM command_outputs").scalar() == 0


def pages(store: Store) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0)
