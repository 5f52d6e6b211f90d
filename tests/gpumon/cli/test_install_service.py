"""The units that systemd is given, judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.cli.service import Unit, agent_unit, device_groups, master_unit
from gpumon.cli.supervisor import gpumon_command
from tests.support import program_or_skip

PROGRAM = Path(sys.executable)
MASTER = master_unit(PROGRAM, ["--host", "0.0.0.0"])
AGENT = agent_unit(PROGRAM, [], runs_commands=True)
WATCHING = agent_unit(PROGRAM, [], runs_commands=False)


def written(folder: Path, unit: Unit) -> Path:
    """Write the unit for users that every machine has."""
    path = folder / unit.name
    path.write_text(re.sub(r"(?m)^(User|Group)=gpumon$", r"\1=daemon", unit.text))
    return path


def analysed(*words: str) -> subprocess.CompletedProcess[str]:
    program = program_or_skip("systemd-analyze", "systemd")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("unit", [MASTER, AGENT, WATCHING], ids=["master", "agent", "watching agent"])
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, unit: Unit) -> None:
    ended = analysed("verify", str(written(tmp_path, unit)))
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if unit.name in line]
    assert (ended.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", [MASTER, WATCHING], ids=["master", "watching agent"])
def test_what_needs_little_is_bound_tightly(tmp_path: Path, unit: Unit) -> None:
    ended = analysed("security", "--offline=true", "--threshold=30", str(written(tmp_path, unit)))
    if "unrecognized option" in ended.stderr:
        pytest.skip("systemd-analyze is too old to judge a unit that is not loaded: systemd 250 can")
    assert ended.returncode == 0, ended.stdout.splitlines()[-1:]


def test_commands_run_as_a_user_of_their_own() -> None:
    assert "--commands-user gpumon-run" in AGENT.text
    assert AGENT.users == ("gpumon-run",)
    assert "--no-commands" in WATCHING.text


def test_flags_reach_the_program_as_they_were_given() -> None:
    text = agent_unit(PROGRAM, ["--label", "rack=3 a%b", "--label", '$HOME="x"'], runs_commands=True).text
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert line.endswith('--label "rack=3 a%%b" --label "$$HOME=\\"x\\""')


def test_the_group_of_the_gpus_is_added_where_not_everybody_may_open_them(tmp_path: Path) -> None:
    device = tmp_path / "nvidia0"
    device.touch()
    device.chmod(0o666)
    assert device_groups(tmp_path) == []
    device.chmod(0o660)
    groups = device_groups(tmp_path)
    assert groups == [] if device.stat().st_gid == 0 else len(groups) == 1


def test_a_program_in_a_home_is_not_hidden_from_the_service() -> None:
    assert "ProtectHome=yes" in master_unit(Path("/opt/gpumon/bin/gpumon"), []).text
    assert "ProtectHome=read-only" in master_unit(Path("/home/ana/venv/bin/gpumon"), []).text


def test_a_unit_is_shown_without_changing_anything() -> None:
    shown = subprocess.run(
        gpumon_command("install-service", "agent", "--no-commands", "--print", "--", "--interval", "1"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.startswith("# The gpumon agent")
    assert "--no-commands --interval 1" in shown.stdout
