"""`gpumon run` over the real broker and real agents."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.running import Running, an_agent, gpumon_up, online
from tests.support import eventually


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two simulated workers, w1 in rack 1 and w2 in rack 2, and a master."""
    with ExitStack() as stack:
        running = stack.enter_context(
            gpumon_up(tmp_path_factory.mktemp("fleet"), more={"LD_LIBRARY_PATH": "/nonexistent"})
        )
        for number in ("1", "2"):
            stack.enter_context(
                an_agent(running, f"w{number}", "--source", "simulated", "--label", f"rack={number}", "--interval", "1")
            )
        eventually(lambda: online(running, ["w1", "w2"]), 30)
        yield running


def test_one_workers_output_comes_as_it_is_and_its_exit_code_is_gpumons(fleet: Running) -> None:
    finished = fleet.gpumon("run", "-w", "w1", "--", "echo out; echo err >&2; exit 3")
    assert (finished.returncode, finished.stdout) == (3, "out\n")
    assert finished.stderr.startswith("err\n")


def test_many_workers_lines_carry_their_names_and_a_summary_follows(fleet: Running) -> None:
    finished = fleet.gpumon("run", "--all", "--", "echo", "hello")
    assert finished.returncode == 0
    assert sorted(finished.stdout.splitlines()) == ["w1  hello", "w2  hello"]
    assert "2 workers: same output" in finished.stderr
    assert "2 succeeded, 0 failed" in finished.stderr


def test_gathered_output_is_shown_once(fleet: Running) -> None:
    finished = fleet.gpumon("run", "--all", "-b", "--", "echo same")
    assert finished.stdout == "--- w1, w2 (2)\nsame\n"


def test_scripts_get_how_it_ended_on_each_worker(fleet: Running) -> None:
    finished = fleet.gpumon("run", "-w", "w1,w2", "--json", "--", 'echo "$(hostname) ä"; exit 3')
    assert finished.returncode == 1
    first, second = json.loads(finished.stdout)
    assert (first["worker"], first["state"], first["exit_code"]) == ("w1", "finished", 3)
    assert second["output"].endswith(" ä\n")
    assert second["duration_s"] > 0


def test_a_label_chooses_workers(fleet: Running) -> None:
    assert fleet.gpumon("run", "--label", "rack=2", "-b", "--", "echo x").stdout == "--- w2 (1)\nx\n"
    nobody = fleet.gpumon("run", "--label", "rack=9", "--", "echo x")
    assert nobody.returncode == 2
    assert "no worker is online with rack=9" in nobody.stderr


def test_one_failure_among_many_fails_the_whole(fleet: Running) -> None:
    finished = fleet.gpumon("run", "-w", "w1,w2,ghost", "--", "true")
    assert finished.returncode == 1
    assert "ghost: is not known here" in finished.stderr


def test_a_command_that_takes_too_long_is_ended(fleet: Running) -> None:
    finished = fleet.gpumon("run", "-w", "w1", "--timeout", "1", "--", "sleep 30")
    assert finished.returncode == 1
    assert "w1: timeout" in finished.stderr


def test_interrupting_cancels_the_command_on_the_worker(fleet: Running, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    command = gpumon_command("run", "-w", "w1", "--", f"touch {marker}; sleep 30; touch {marker}-on")
    process = subprocess.Popen(command, env=fleet.environment, stderr=subprocess.PIPE, text=True)
    eventually(marker.exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert "w1: cancelled" in said
    assert process.returncode == 1


def test_a_wrong_password_is_said_at_once(fleet: Running, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    finished = fleet.gpumon(
        "run",
        "--master",
        fleet.master_url,
        "--username",
        "admin",
        "--password-file",
        str(password),
        "--all",
        "--",
        "true",
    )
    assert finished.returncode == 1
    assert "refused the connection" in finished.stderr
