"""The curl lines of docs/api.md, run as they stand by a shell, against a real master with a worker."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.running import Running, an_agent, gpumon_up, online
from tests.support import eventually, program_or_skip

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
FIRST, REST = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
LINES = [line for line in REST.replace("\\\n", " ").splitlines() if line.startswith("curl")]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A master, a worker gpu1, and somebody called research who may run commands."""
    with (
        gpumon_up(tmp_path_factory.mktemp("fleet"), more={"LD_LIBRARY_PATH": "/nonexistent"}) as running,
        an_agent(running, "gpu1", "--source", "simulated", "--interval", "1"),
    ):
        added = running.gpumon("user", "add", "research", "--role", "operator", "--generate")
        assert added.returncode == 0, added.stderr
        eventually(lambda: online(running, ["gpu1"]), 30)
        yield running


@pytest.fixture(scope="module")
def prepared(fleet: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment after the first lines, which make the token."""
    bash = program_or_skip("bash", "bash")
    program = tmp_path_factory.mktemp("bin") / "gpumon"
    program.write_text("#!/bin/sh\nexec " + " ".join(gpumon_command()) + ' "$@"\n')
    program.chmod(0o755)
    environment = {**fleet.environment, "PATH": f"{program.parent}:{fleet.environment['PATH']}"}
    script = f'{FIRST}\nprintf %s "$TOKEN"'
    token = subprocess.run(
        [bash, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert re.fullmatch(r"gpt_[A-Za-z0-9_-]{43}", token)
    return {**environment, "GPUMON": fleet.page, "TOKEN": token}


@pytest.mark.parametrize("line", LINES)
def test_a_documented_line_is_answered(prepared: dict[str, str], line: str) -> None:
    program_or_skip("curl", "curl")
    ended = subprocess.run(["bash", "-c", line], env=prepared, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    if ".csv" in line:
        assert ended.stdout.startswith("time,time_utc,cpu_percent_mean")
    else:
        assert json.loads(ended.stdout)
