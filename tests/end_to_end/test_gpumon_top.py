"""`gpumon top` as a program, against a real master's broker."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator

import pytest

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.running import Running, an_agent, gpumon_up, online


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A master with one simulated worker."""
    with (
        gpumon_up(tmp_path_factory.mktemp("fleet"), more={"LD_LIBRARY_PATH": "/nonexistent"}) as running,
        an_agent(running, "w1", "--source", "simulated", "--label", "rack=1", "--interval", "1"),
    ):
        deadline = time.monotonic() + 30
        while not online(running, ["w1"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield running


def test_a_pipe_gets_a_table_once(fleet: Running) -> None:
    shown = fleet.gpumon("top")
    assert shown.returncode == 0
    assert "workers 1/1 online" in shown.stdout
    assert "● online  w1" in shown.stdout
    assert "nothing matches" in fleet.gpumon("top", "label:rack=9").stdout


def test_scripts_get_json(fleet: Running) -> None:
    (row,) = json.loads(fleet.gpumon("top", "--json").stdout)
    assert (row["id"], row["state"], row["labels"]) == ("w1", "online", {"rack": "1"})
    cards = json.loads(fleet.gpumon("top", "--json", "--gpus").stdout)
    assert len(cards) == row["gpu_count"]
    assert {card["worker"] for card in cards} == {"w1"}


def test_a_column_that_is_none_is_named(fleet: Running) -> None:
    refused = fleet.gpumon("top", "--sort", "heat")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--sort 'heat' is no column" in refused.stderr


def test_a_terminal_shows_the_fleet_until_q(fleet: Running) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        gpumon_command("top"),
        env={**fleet.environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        assert "w1" in _read_until(controller, "w1", 20)
        os.write(controller, b"q")
        _read_until(controller, "\0never", 20)  # until it has closed the terminal
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def _read_until(terminal: int, text: str, timeout_s: float) -> str:
    read, deadline = b"", time.monotonic() + timeout_s
    while text.encode() not in read and time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if not ready:
            continue
        try:
            read += os.read(terminal, 65_536)
        except OSError:  # Linux's answer once the other side is closed
            break
    return read.decode(errors="replace")
