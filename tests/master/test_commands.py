"""The command desk, over a real broker."""

from __future__ import annotations

import math
import time
from pathlib import Path

import msgspec
import pytest

from gpumon.commands import MAX_COMMAND_BYTES, MAX_TIMEOUT_S, parse_command
from master.commands import CommandError
from master.events import CommandChanged, OutputArrived
from master.master import Master
from master.records import CommandRecord, OutputChunk, TargetRecord
from tests.master.support import RESEARCH, Publisher, new_master, output, result, running_master, sample
from tests.support import eventually, mosquitto


def with_workers(master: Master, publisher: Publisher, *worker_ids: str) -> None:
    for worker_id in worker_ids:
        publisher.publish(f"gpumon/{worker_id}/status", "online", retain=True)
        publisher.publish(f"gpumon/{worker_id}/metrics", sample(1), retain=True)
    eventually(lambda: all((w := master.fleet.worker(each)) and w.metrics for each in worker_ids))


def target(master: Master, command_id: str, worker_id: str = "w1") -> TargetRecord:
    record = master.commands.get(command_id)
    assert record is not None
    return next(each for each in record.targets if each.worker_id == worker_id)


def ended(master: Master, command_id: str) -> CommandRecord:
    eventually(lambda: (record := master.commands.get(command_id)) and record.is_ended)
    record = master.commands.get(command_id)
    assert record is not None
    return record


def test_a_command_goes_to_each_worker_under_one_id_and_comes_back_with_its_result(
    master: Master, publisher: Publisher
) -> None:
    with_workers(master, publisher, "w1", "w2")
    publisher.hear("gpumon/+/cmd")
    time_before = time.time()
    record = master.commands.run("nvidia-smi -L", ["w1", "w2", "w1"], RESEARCH, timeout_s=30)
    assert [each.state for each in record.targets] == ["sent", "sent"]
    eventually(lambda: len(publisher.received) == 2)
    assert {topic for topic, _ in publisher.received} == {"gpumon/w1/cmd", "gpumon/w2/cmd"}
    for _, payload in publisher.received:
        sent = msgspec.json.decode(payload)
        assert (sent["id"], sent["command"], sent["by"]) == (record.id, "nvidia-smi -L", "research")
        assert sent["timeout_s"] == 30
        assert sent["expires_at"] == pytest.approx(time_before + 30, abs=5)
        assert parse_command(payload)
    publisher.publish("gpumon/w1/cmd/result", result(record.id, exit_code=3, started=5.0, stdout_bytes=118))
    publisher.publish("gpumon/w2/cmd/result", result(record.id, state="timeout", exit_code=None, problem="too slow"))
    assert ended(master, record.id).targets == (
        TargetRecord("w1", "finished", exit_code=3, started=5.0, duration_s=0.2, stdout_bytes=118),
        TargetRecord("w2", "timeout", duration_s=0.2, problem="too slow"),
    )


def test_output_is_passed_on_as_it_comes_and_there_whole_at_any_moment(master: Master, publisher: Publisher) -> None:
    arrived: list[OutputArrived] = []
    master.bus.subscribe(OutputArrived, arrived.append)
    with_workers(master, publisher, "w1")
    record = master.commands.run("make", ["w1"], RESEARCH)
    for piece in (
        output(record.id, 0, "one\n"),
        output(record.id, 1, "oops\n", "stderr"),
        output(record.id, 1, "oops\n", "stderr"),  # delivered again
        output(record.id, 2, "two\n"),
    ):
        publisher.publish("gpumon/w1/cmd/output", piece)
    eventually(lambda: len(arrived) == 3)
    assert [(each.seq, each.stream, each.data) for each in arrived] == [
        (0, "stdout", "one\n"),
        (1, "stderr", "oops\n"),
        (2, "stdout", "two\n"),
    ]
    eventually(lambda: target(master, record.id).state == "running")
    whole = [OutputChunk(0, "stdout", "one\n"), OutputChunk(1, "stderr", "oops\n"), OutputChunk(2, "stdout", "two\n")]
    assert master.commands.output(record.id, "w1") == whole
    publisher.publish("gpumon/w1/cmd/result", result(record.id, "make", output="one\noops\ntwo\n"))
    ended(master, record.id)
    assert master.flush()
    master._ledger.tick(time.time())  # lets go of what is stored
    assert master._ledger._running == {}
    assert master.commands.output(record.id, "w1") == whole
    assert ended(master, record.id).targets[0].state == "finished"


def test_output_beyond_1_mib_is_left_out_and_said_to_be_cut(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1")
    record = master.commands.run("yes", ["w1"], RESEARCH)
    for seq in range(5):
        publisher.publish("gpumon/w1/cmd/output", output(record.id, seq, "y" * 300_000))
    publisher.publish("gpumon/w1/cmd/result", result(record.id, "yes", stdout_bytes=1_500_000))
    assert ended(master, record.id).targets[0].truncated
    assert sum(len(chunk.data) for chunk in master.commands.output(record.id, "w1")) == 900_000


def test_a_result_whose_output_was_not_heard_brings_its_tail(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1")
    record = master.commands.run("ls", ["w1"], RESEARCH)
    publisher.publish("gpumon/w1/cmd/result", result(record.id, output="a\nb\n"))
    ended(master, record.id)
    assert master.commands.output(record.id, "w1") == [OutputChunk(0, "stdout", "a\nb\n")]


def test_a_second_result_is_ignored(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1")
    record = master.commands.run("ls", ["w1"], RESEARCH)
    publisher.publish("gpumon/w1/cmd/result", result(record.id, exit_code=1))
    ended(master, record.id)
    publisher.publish("gpumon/w1/cmd/result", result(record.id, exit_code=2))
    assert master.flush()
    master._ledger.tick(time.time())
    publisher.publish("gpumon/w1/cmd/result", result(record.id, exit_code=3))
    eventually(lambda: master.counters.received["cmd/result"] == 3)
    assert target(master, record.id).exit_code == 1


def test_a_result_of_a_worker_that_was_not_asked_does_not_enter_a_command_of_the_page(
    master: Master, publisher: Publisher
) -> None:
    with_workers(master, publisher, "w1", "w2")
    record = master.commands.run("ls", ["w1"], RESEARCH)
    publisher.publish("gpumon/w2/cmd/output", output(record.id, 0, "forged"))
    publisher.publish("gpumon/w2/cmd/result", result(record.id))
    eventually(lambda: master.counters.received["cmd/result"] == 1)
    known = master.commands.get(record.id)
    assert known is not None
    assert [(each.worker_id, each.state) for each in known.targets] == [("w1", "sent")]


def test_a_worker_that_is_offline_is_not_sent_to(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1", "w2")
    publisher.publish("gpumon/w2/status", "offline", retain=True)
    eventually(lambda: (w := master.fleet.worker("w2")) and w.status == "offline")
    publisher.hear("gpumon/+/cmd")
    record = master.commands.run("ls", ["w2", "w1"], RESEARCH)
    assert record.targets == (
        TargetRecord("w2", "failed", problem="worker is offline"),
        TargetRecord("w1", "sent"),
    )
    eventually(lambda: publisher.received)
    publisher.publish("gpumon/w1/cmd/result", result(record.id))
    ended(master, record.id)
    assert [topic for topic, _ in publisher.received] == ["gpumon/w1/cmd"]


@pytest.mark.parametrize(
    ("command", "workers", "timeout_s", "message"),
    [
        ("ls", [], 60, "no worker was chosen"),
        ("ls", ["w1", "w9"], 60, "worker 'w9' is not known here"),
        ("ls", ["w1"], 0, "a timeout of 0 s cannot be used"),
        ("ls", ["w1"], -1, "a timeout of -1 s cannot be used"),
        ("ls", ["w1"], math.nan, "a timeout of nan s cannot be used"),
        ("ls", ["w1"], MAX_TIMEOUT_S + 1, "cannot be used"),
        (" \n", ["w1"], 60, "the command is empty"),
        ("ls\0", ["w1"], 60, "NUL"),
        ("ls \ud800", ["w1"], 60, "not valid text"),
        ("x" * MAX_COMMAND_BYTES, ["w1"], 60, "the command is too long"),
    ],
)
def test_a_command_that_cannot_be_sent_is_refused_and_not_kept(
    *, master: Master, publisher: Publisher, command: str, workers: list[str], timeout_s: float, message: str
) -> None:
    with_workers(master, publisher, "w1")
    with pytest.raises(CommandError, match=message):
        master.commands.run(command, workers, RESEARCH, timeout_s=timeout_s)
    assert master.commands.recent() == []


def test_without_a_broker_a_command_is_refused_and_not_sent_late(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as port:
        master = new_master(tmp_path / "data", port)
        with pytest.raises(CommandError, match="nothing can be sent now: the master is not running"):
            master.commands.run("ls", ["w1"], RESEARCH)
        master.start()
        eventually(lambda: master.link_problem is None)
    try:
        eventually(lambda: master.link_problem)
        with pytest.raises(CommandError, match=r"nothing can be sent now: .*connecti"):
            master.commands.run("ls", ["w1"], RESEARCH)
    finally:
        master.stop()


def test_cancelling_asks_those_workers_that_still_run_it(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1", "w2", "w3")
    publisher.hear("gpumon/+/cmd")
    record = master.commands.run("sleep 60", ["w1", "w2", "w3"], RESEARCH)
    eventually(lambda: len(publisher.received) == 3)
    publisher.received.clear()
    publisher.publish("gpumon/w1/cmd/result", result(record.id, "sleep 60"))
    eventually(lambda: target(master, record.id).is_ended)
    master.commands.cancel(record.id, RESEARCH, ["w2"])
    eventually(lambda: len(publisher.received) == 1)
    master.commands.cancel(record.id, RESEARCH)
    eventually(lambda: len(publisher.received) == 3)
    assert sorted(topic for topic, _ in publisher.received) == ["gpumon/w2/cmd", "gpumon/w2/cmd", "gpumon/w3/cmd"]
    assert msgspec.json.decode(publisher.received[0][1]) == {"id": record.id, "cancel": True}
    publisher.publish("gpumon/w2/cmd/result", result(record.id, "sleep 60", state="cancelled", exit_code=None))
    eventually(lambda: target(master, record.id, "w2").state == "cancelled")


def test_cancelling_an_unknown_command_is_refused(master: Master) -> None:
    with pytest.raises(CommandError, match="command 'c-none' is not known here"):
        master.commands.cancel("c-none", RESEARCH)


def test_a_thousand_results_are_announced_in_a_few_events(master: Master, publisher: Publisher) -> None:
    worker_ids = [f"w{number:03d}" for number in range(1000)]
    for worker_id in worker_ids:
        master.fleet.take_status(worker_id, "online", time.time(), retained=False)
    changes: list[CommandChanged] = []
    master.bus.subscribe(CommandChanged, changes.append)
    record = master.commands.run("true", worker_ids, RESEARCH)
    started = time.monotonic()
    for worker_id in worker_ids:
        publisher.publish(f"gpumon/{worker_id}/cmd/result", result(record.id, "true"))
    eventually(lambda: changes and changes[-1].command.is_ended)
    assert len(changes) <= 5 + (time.monotonic() - started) / 0.1
    assert master.flush()
    assert master.commands.recent() == [changes[-1].command]


def test_recent_commands_come_newest_first_by_worker_and_by_time(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1", "w2")
    first = master.commands.run("one", ["w1"], RESEARCH)
    second = master.commands.run("two", ["w2"], RESEARCH)
    third = master.commands.run("three", ["w1", "w2"], RESEARCH)
    publisher.publish("gpumon/w1/cmd/result", result(first.id, "one"))
    ended(master, first.id)
    master.flush()
    master._ledger.tick(time.time())
    assert [each.command for each in master.commands.recent()] == ["three", "two", "one"]
    assert [each.command for each in master.commands.recent(limit=2)] == ["three", "two"]
    assert [each.command for each in master.commands.recent(before=third.created)] == ["two", "one"]
    assert [each.command for each in master.commands.recent(worker_id="w1")] == ["three", "one"]
    assert [each.command for each in master.commands.recent(text="TH")] == ["three"]
    assert master.commands.recent(text="%") == []
    assert [each.command for each in master.commands.recent(worker_id="w2", before=third.created)] == ["two"]
    assert master.commands.recent(worker_id="w9") == []
    assert second.targets[0].worker_id == "w2"


def test_a_running_command_and_its_output_survive_a_restart_of_the_master(tmp_path: Path, mosquitto_port: int) -> None:
    publisher = Publisher(mosquitto_port)
    with running_master(tmp_path / "data", mosquitto_port) as master:
        with_workers(master, publisher, "w1")
        record = master.commands.run("make", ["w1"], RESEARCH)
        publisher.publish("gpumon/w1/cmd/output", output(record.id, 0, "one\n"))
        eventually(lambda: master.commands.output(record.id, "w1"))
    with running_master(tmp_path / "data", mosquitto_port) as master:
        assert [each.state for each in master.commands.recent()[0].targets] == ["running"]
        publisher.publish("gpumon/w1/cmd/output", output(record.id, 1, "two\n"))
        publisher.publish("gpumon/w1/cmd/result", result(record.id, "make"))
        known = ended(master, record.id)
        assert (known.by, known.origin, known.command) == ("research", "page", "make")
        assert "".join(chunk.data for chunk in master.commands.output(record.id, "w1")) == "one\ntwo\n"
    publisher.stop()
