"""The agent as a process of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.service import run_agent
from gpumon.errors import SettingError, StartError
from gpumon.settings import AgentSettings, CommandSettings, Settings
from tests.agent.runtime.support import WORKER, Observer
from tests.support import eventually, free_port

pytestmark = pytest.mark.mosquitto


@contextlib.contextmanager
def _agent(port: int, folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    token = folder / "token.txt"
    token.write_text("token")
    token.chmod(0o600)
    words = [sys.executable, "-m", "agent", "--source", "simulated", "--interval", "0.5", "--worker-id", WORKER]
    words += ["--master", f"mqtt://127.0.0.1:{port}", "--token-file", str(token), "--data", str(folder / "data")]
    process = subprocess.Popen([*words, *flags], stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_sigterm_ends_commands_says_offline_and_exits_with_0(mosquitto_port: int, tmp_path: Path) -> None:
    with Observer(mosquitto_port) as observer, _agent(mosquitto_port, tmp_path) as process:
        eventually(observer.metrics)
        observer.send({"id": "long", "command": "echo begun; exec sleep 1000"})
        eventually(lambda: observer.outputs("long"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        result = observer.result_of("long")
        assert (result.state, result.exit_code, result.output) == ("failed", None, "begun\n")
        assert "agent was stopped" in str(result.problem)
        eventually(lambda: observer.statuses()[-1] == b"offline")
    with Observer(mosquitto_port) as later:
        eventually(lambda: later.statuses() == [b"offline"])


def _is_our_sleep(pid: int) -> bool:
    """Tell whether the process still sleeps; its number may be another's by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001000\x00"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_agent_leaves_offline_and_its_command_is_not_run_twice(mosquitto_port: int, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    command = {"id": "once", "command": f"echo $$ >> {ran}; exec sleep 1000"}
    with Observer(mosquitto_port) as observer:
        with _agent(mosquitto_port, tmp_path) as process:
            eventually(observer.metrics)
            observer.send(command)
            pid = int(eventually(lambda: ran.read_text().strip() if ran.exists() else ""))
            journal = tmp_path / "data" / "agent" / WORKER / "commands.jsonl"
            eventually(lambda: b'"pid":' in journal.read_bytes())  # by which the next agent finds the process
            process.kill()
            process.wait(10)
            eventually(lambda: observer.statuses()[-1] == b"offline")
        with _agent(mosquitto_port, tmp_path):
            result = observer.result_of("once")
            assert result.state == "failed"
            assert "agent ended" in str(result.problem)
            observer.send(command)
            observer.run("true", "after")
        assert ran.read_text().split() == [str(pid)]
        assert len(observer.results("once")) == 1
        eventually(lambda: not _is_our_sleep(pid))


def test_a_second_agent_in_the_same_folder_is_refused_and_told_where_more_stands(
    mosquitto_port: int, tmp_path: Path
) -> None:
    with Observer(mosquitto_port) as observer, _agent(mosquitto_port, tmp_path):
        eventually(observer.metrics)
        with _agent(mosquitto_port, tmp_path) as second:
            _, errors = second.communicate(timeout=20)
        assert second.returncode == StartError.exit_code
        said, more = errors.strip().splitlines()
        assert b"another agent already runs" in said
        assert more.startswith(b"More: docs/")


def test_without_a_broker_it_goes_on_and_says_why(tmp_path: Path) -> None:
    with _agent(free_port(), tmp_path, "--no-commands") as process:
        assert process.stderr is not None
        assert b"no broker answers there" in process.stderr.readline()
        process.terminate()
        assert process.wait(10) == 0


def test_without_a_master_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--master"):
        run_agent(Settings(data=str(tmp_path)), threading.Event())


def test_a_label_that_no_message_may_carry_is_refused(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), agent=AgentSettings(master="localhost", labels={"rack": "3" * 300}))
    with pytest.raises(SettingError, match="--label rack"):
        run_agent(settings, threading.Event())


def test_a_data_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token")
    token.chmod(0o600)
    (tmp_path / "data").write_text("a file, not a folder")
    settings = Settings(
        data=str(tmp_path / "data"), agent=AgentSettings(master="localhost", token_file=str(token), worker_id=WORKER)
    )
    with pytest.raises(StartError, match="cannot be written"):
        run_agent(settings, threading.Event())


def test_a_user_that_is_not_there_is_told_of_before_anything_is_done(tmp_path: Path) -> None:
    settings = Settings(
        data=str(tmp_path / "data"),
        agent=AgentSettings(join="no join line", token_file=str(tmp_path / "token")),
        commands=CommandSettings(user="no-such-user"),
    )
    with pytest.raises(SettingError, match=r"commands\.user"):
        run_agent(settings, threading.Event())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
def test_commands_of_another_user_run_with_its_rights_alone(mosquitto_port: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    flags = ("--commands-user", "nobody", "--commands-max-timeout-s", "0.5")
    with Observer(mosquitto_port) as observer, _agent(mosquitto_port, tmp_path, *flags) as process:
        eventually(lambda: observer.statuses() and observer.infos())
        assert observer.run("id -un; echo $HOME $USER; umask", "who").output.split() == [
            *("nobody", pwd.getpwnam("nobody").pw_dir, "nobody", "0022")
        ]
        for path in (tmp_path / "token.txt", f"/proc/{process.pid}/environ", f"/proc/{process.pid}/mem"):
            denied = observer.run(f"cat {path}", f"read-{Path(path).name}")
            assert denied.exit_code == 1
            assert "Permission denied" in denied.output
        assert "most that this worker allows" in str(observer.run("sleep 60", "long", timeout_s=60).problem)
