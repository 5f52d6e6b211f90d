"""Commands sent to a worker over a real mosquitto."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import runner as runner_module
from agent.node import WorkerNode
from tests.agent.runtime.support import WORKER, Observer, make_node, running
from tests.support import eventually, program_or_skip, stopping

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def node(mosquitto_port: int, tmp_path: Path) -> Iterator[WorkerNode]:
    with running(make_node(mosquitto_port, tmp_path, interval_s=60)) as node:
        yield node


@pytest.fixture
def operator(mosquitto_port: int, node: WorkerNode) -> Iterator[Observer]:
    with Observer(mosquitto_port) as observer:
        eventually(lambda: observer.statuses() == [b"online"])
        yield observer


def _is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _pid_in(file: Path) -> int:
    return int(eventually(lambda: file.read_text().strip() if file.exists() else ""))


def test_plain_text_from_mosquitto_pub_shows_output_and_result_in_mosquitto_sub(
    mosquitto_port: int, operator: Observer, tmp_path: Path
) -> None:
    broker = ["-h", "127.0.0.1", "-p", str(mosquitto_port)]
    hears = [program_or_skip("mosquitto_sub", "mosquitto-clients"), *broker, "-v", "-t", f"gpumon/{WORKER}/cmd/#"]
    says = [program_or_skip("mosquitto_pub", "mosquitto-clients"), *broker, "-q", "1", "-t", f"gpumon/{WORKER}/cmd"]
    heard = tmp_path / "heard"
    with heard.open("wb") as file, stopping(subprocess.Popen(hears, stdout=file)):
        operator.link.publish(f"gpumon/{WORKER}/cmd/hello", b"subscribed", qos=1, retain=True)
        eventually(lambda: "subscribed" in heard.read_text())
        subprocess.run([*says, "-m", "echo out; echo err >&2; exit 3"], check=True)
        eventually(lambda: f"gpumon/{WORKER}/cmd/result {{" in heard.read_text())
    assert f"gpumon/{WORKER}/cmd/output {{" in heard.read_text()
    result = eventually(operator.results)[0]
    assert result.id.startswith("c-")
    assert len(result.id) == 14
    assert (result.state, result.exit_code) == ("finished", 3)
    assert sorted(result.output.split()) == ["err", "out"]
    assert (result.stdout_bytes, result.stderr_bytes) == (4, 4)
    assert {output.stream: output.data for output in operator.outputs(result.id)} == {
        "stdout": "out\n",
        "stderr": "err\n",
    }
    assert result.started is not None
    assert abs(result.started - time.time()) < 10


def test_output_arrives_while_the_command_still_runs(operator: Observer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    operator.send({"id": "slow", "command": f"echo one; while [ ! -e {go} ]; do sleep 0.02; done; echo two"})
    eventually(lambda: [output.data for output in operator.outputs("slow")] == ["one\n"])
    assert operator.results("slow") == []
    go.touch()
    assert operator.result_of("slow").output == "one\ntwo\n"
    assert [output.seq for output in operator.outputs("slow")] == [0, 1]


def test_bytes_that_are_no_utf_8_are_replaced_and_characters_are_never_split(operator: Observer) -> None:
    result = operator.run(r"printf 'a\377b'; printf '\303'; sleep 0.3; printf '\244 \303'", "binary")
    assert result.output == "a\ufffdb\u00e4 \ufffd"
    assert result.stdout_bytes == 7
    assert "".join(output.data for output in operator.outputs("binary")) == result.output


def test_of_five_megabytes_one_is_published_and_all_are_counted(operator: Observer) -> None:
    result = operator.run("head -c 5000000 /dev/zero | tr '\\0' x; printf end", "big")
    assert (result.state, result.exit_code) == ("finished", 0)
    assert result.truncated
    assert result.stdout_bytes == 5_000_003
    assert len(result.output) == 64 * 1024
    assert result.output.endswith("xend")
    outputs = eventually(lambda: operator.outputs("big"))
    assert sum(len(output.data) for output in outputs) == 1024 * 1024
    assert [output.seq for output in outputs] == list(range(len(outputs)))
    assert max(len(output.data) for output in outputs) <= 16 * 1024


def test_a_timeout_kills_grandchildren_that_ignore_sigterm(operator: Observer, tmp_path: Path) -> None:
    file = tmp_path / "grandchild"
    result = operator.run(
        f"(trap '' TERM; sh -c 'echo $$ > {file}; while :; do sleep 1; done') & echo started; wait",
        "endless",
        timeout_s=0.5,
    )
    assert (result.state, result.exit_code) == ("timeout", None)
    assert result.output == "started\n"
    assert "0.5 s" in str(result.problem)
    assert not _is_alive(_pid_in(file))


def test_a_cancelled_command_ends_and_says_so(operator: Observer, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    operator.send({"id": "long", "command": f"echo $$ > {file}; exec sleep 1000"})
    pid = _pid_in(file)
    operator.send({"id": "long", "cancel": True})
    result = operator.result_of("long")
    assert (result.state, result.exit_code) == ("cancelled", None)
    assert not _is_alive(pid)


def test_a_background_child_does_not_outlive_its_command(operator: Observer, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    result = operator.run(f"sleep 1000 & echo $! > {file}; echo done", "background")
    assert (result.state, result.exit_code, result.output) == ("finished", 0, "done\n")
    assert result.duration_s is not None
    assert result.duration_s < 2
    assert not _is_alive(_pid_in(file))


def test_a_child_that_has_left_the_group_and_keeps_the_pipe_open_does_not_hold_the_result_up(
    operator: Observer, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    result = operator.run(
        f"setsid sh -c 'echo $$ > {file}; exec sleep 60' & while [ ! -s {file} ]; do :; done", "daemon"
    )
    assert result.state == "finished"
    os.kill(_pid_in(file), signal.SIGKILL)


def test_a_signal_is_its_negative_number(operator: Observer) -> None:
    assert operator.run("kill -9 $$", "suicide").exit_code == -9


def test_standard_input_is_empty_and_the_environment_has_no_secrets_of_gpumon(operator: Observer) -> None:
    result = operator.run("cat; env", "env")
    assert result.exit_code == 0
    names = {line.partition("=")[0] for line in result.output.splitlines()}
    assert "PATH" in names
    assert not names & {"GPUMON_X", "MASTER_URL", "WORKER_ID"}


def test_a_command_to_all_is_run_as_well(operator: Observer) -> None:
    operator.send({"id": "everybody", "command": "echo here", "by": "lena"}, to="all")
    result = operator.result_of("everybody")
    assert (result.output, result.by) == ("here\n", "lena")


def test_the_same_id_runs_once_and_has_one_result(operator: Observer, tmp_path: Path) -> None:
    for _ in range(3):
        operator.send({"id": "once", "command": f"echo x >> {tmp_path}/ran"})
    operator.send({"id": "once", "command": f"echo x >> {tmp_path}/ran"}, to="all")
    operator.run("true", "later")
    assert (tmp_path / "ran").read_text() == "x\n"
    assert len(operator.results("once")) == 1


def test_a_command_that_comes_too_late_is_expired(operator: Observer, tmp_path: Path) -> None:
    result = operator.run(f"touch {tmp_path}/ran", "late", expires_at=time.time() - 1)
    assert (result.state, result.exit_code) == ("expired", None)
    assert not (tmp_path / "ran").exists()


def test_a_retained_command_is_refused_at_every_connect_and_never_run(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as operator:
        operator.send({"id": "kept", "command": f"touch {tmp_path}/ran"}, retain=True)
        with running(make_node(mosquitto_port, tmp_path)):
            event = eventually(lambda: operator.events("command_refused"))[0]
            assert "retained" in event.text
            operator.run("true", "after")
        assert operator.results("kept") == []
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("payload", "id_in_result"),
    [
        (b'{"id": "bad", "command": 7}', "bad"),
        (b'{"id": "bad", "command": "true", "timeout_s": -1}', "bad"),
        (b'{"id": "bad"}', "bad"),
        (b'{"id": "bad id", "command": "true"}', None),
        (b'{"command": "tru', None),
        (b"\xff\xfe", None),
        (b"x" * 70_000, None),
    ],
)
def test_an_invalid_command_is_refused_with_the_reason(
    operator: Observer, payload: bytes, id_in_result: str | None
) -> None:
    operator.send(payload)
    assert eventually(lambda: operator.events("command_refused"))[0].text
    operator.run("true", "after")
    refused = [result for result in operator.results() if result.state == "refused"]
    assert [result.id for result in refused] == ([id_in_result] if id_in_result else [])
    assert all(result.problem for result in refused)


def test_an_empty_payload_is_ignored(operator: Observer) -> None:
    operator.send(b"")
    operator.send(b"  \n")
    operator.run("true", "after")
    assert [result.id for result in operator.results()] == ["after"]
    assert operator.events("command_refused") == []


def test_a_nul_in_a_command_is_an_answer_not_a_crash(operator: Observer) -> None:
    result = operator.run("echo \0", "nul")
    assert result.state == "refused"
    assert "NUL" in str(result.problem)
    assert operator.run("echo fine", "after").output == "fine\n"


def test_cancelling_a_command_that_does_not_run_here_does_nothing(operator: Observer) -> None:
    operator.send({"id": "elsewhere", "cancel": True})
    operator.run("true", "after")
    assert operator.results("elsewhere") == []


def test_without_commands_everything_is_refused(mosquitto_port: int, tmp_path: Path) -> None:
    with running(make_node(mosquitto_port, tmp_path, commands="none")), Observer(mosquitto_port) as operator:
        result = operator.run(f"touch {tmp_path}/ran", "c")
        assert result.state == "refused"
        assert "runs no commands" in str(result.problem)
        assert eventually(lambda: operator.events("command_refused"))
        assert not (tmp_path / "ran").exists()
        assert operator.infos()[0].commands == "none"


def test_only_listed_commands_are_run_and_without_a_shell(mosquitto_port: int, tmp_path: Path) -> None:
    allowed = ["echo *", "cat /etc/host*"]
    node = make_node(mosquitto_port, tmp_path, commands="listed", allow_commands=allowed)
    with running(node), Observer(mosquitto_port) as operator:
        assert operator.run("echo '$HOME; ls'", "quoted").output == "$HOME; ls\n"
        assert operator.run("cat /etc/hostname", "file").exit_code == 0
        for number, command in enumerate(["echo a b", "cat /etc/host/../shadow", "ls", "echo 'a"]):
            assert operator.run(command, f"no-{number}").state == "refused"


def test_further_commands_wait_their_turn_and_too_many_are_refused(
    mosquitto_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_RUNNING", 2)
    monkeypatch.setattr(runner_module, "MAX_WAITING", 2)
    go = tmp_path / "go"
    with running(make_node(mosquitto_port, tmp_path)), Observer(mosquitto_port) as operator:
        for number in range(5):
            operator.send({"id": f"n{number}", "command": f"echo {number}; while [ ! -e {go} ]; do sleep 0.05; done"})
        assert operator.result_of("n4").state == "refused"
        eventually(lambda: operator.outputs("n0") and operator.outputs("n1"))
        assert operator.outputs("n2") == []
        operator.send({"id": "n3", "cancel": True})
        assert operator.result_of("n3").state == "cancelled"
        go.touch()
        assert [operator.result_of(f"n{number}").state for number in range(3)] == ["finished"] * 3


def test_a_journal_that_cannot_be_written_means_that_nothing_is_run(
    operator: Observer, node: WorkerNode, tmp_path: Path
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is not there")
    journal = node._runner._journal
    assert journal._file is not None
    journal._file.close()
    journal._file = full.open("ab", buffering=0)
    result = operator.run(f"touch {tmp_path}/ran", "c")
    assert result.state == "failed"
    assert "journal" in str(result.problem)
    assert not (tmp_path / "ran").exists()
