"""Commands that come again: recorded, changed, late, retained. Each is sent by who may send commands."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent import runner as runner_module
from tests.agent.runtime.support import Observer, make_node, running
from tests.support import eventually

pytestmark = pytest.mark.mosquitto


def test_a_recorded_command_is_not_run_again_after_the_agent_has_started_anew(
    mosquitto_port: int, tmp_path: Path
) -> None:
    recorded = {"id": "recorded", "command": f"echo x >> {tmp_path}/ran"}
    with Observer(mosquitto_port) as operator:
        for number in range(3):
            with running(make_node(mosquitto_port, tmp_path)):
                operator.send(recorded)
                operator.send(recorded, to="all")
                operator.run("true", f"after-{number}")
        assert (tmp_path / "ran").read_text() == "x\n"
        assert len(operator.results("recorded")) == 1


def test_an_id_that_is_known_is_not_run_with_another_command(mosquitto_port: int, tmp_path: Path) -> None:
    with running(make_node(mosquitto_port, tmp_path)), Observer(mosquitto_port) as operator:
        operator.run("true", "known")
        operator.send({"id": "known", "command": f"touch {tmp_path}/ran"})
        operator.run("true", "after")
        assert not (tmp_path / "ran").exists()
        assert [result.command for result in operator.results("known")] == ["true"]


def test_an_expired_or_refused_command_is_not_run_when_it_comes_again_without_what_stopped_it(
    mosquitto_port: int, tmp_path: Path
) -> None:
    with running(make_node(mosquitto_port, tmp_path)), Observer(mosquitto_port) as operator:
        assert operator.run(f"touch {tmp_path}/ran", "late", expires_at=time.time() - 1).state == "expired"
        operator.send({"id": "late", "command": f"touch {tmp_path}/ran"})
        assert operator.run("touch \0", "refused").state == "refused"
        operator.send({"id": "refused", "command": f"touch {tmp_path}/ran"})
        operator.run("true", "after")
        assert not (tmp_path / "ran").exists()


def test_a_command_that_expires_while_it_waits_its_turn_is_not_run(
    mosquitto_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MAX_RUNNING", 1)
    with running(make_node(mosquitto_port, tmp_path)), Observer(mosquitto_port) as operator:
        operator.send({"id": "first", "command": f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done"})
        soon = time.time() + 0.5
        operator.send({"id": "second", "command": f"touch {tmp_path}/ran", "expires_at": soon})
        eventually(lambda: time.time() > soon)
        (tmp_path / "go").touch()
        assert operator.result_of("second").state == "expired"
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("to", ["", "all"])
def test_shell_text_that_was_retained_is_not_run_at_any_connect(mosquitto_port: int, tmp_path: Path, to: str) -> None:
    with Observer(mosquitto_port) as operator:
        operator.send(f"touch {tmp_path}/ran".encode(), to=to, retain=True)
        for number in range(2):
            with running(make_node(mosquitto_port, tmp_path)):
                _refused(operator, number + 1)
                operator.run("true", f"after-{number}")
        assert not (tmp_path / "ran").exists()


def _refused(operator: Observer, count: int) -> None:
    eventually(lambda: len(operator.events("command_refused")) == count)
