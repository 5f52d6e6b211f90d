"""What cannot start says so in one line that tells what to do, and exits non-zero."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from gpumon.files import write_secret
from tests.end_to_end.running import environment_for
from tests.support import free_port


def started(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run a subcommand that cannot start and return its exit code and what it said."""
    finished = subprocess.run(
        gpumon_command(*arguments), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return finished.returncode, finished.stderr


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with a data folder and free ports."""
    return environment_for(tmp_path / "data", free_port(), free_port())


@pytest.mark.parametrize("port", ["GPUMON_PAGE_PORT", "GPUMON_MQTT_PORT"])
def test_a_port_in_use_ends_everything_and_names_the_flag(environment: dict[str, str], port: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment[port])))
        taken.listen()
        code, said = started(environment, "up")
    assert code == 3
    flag = "--port" if port == "GPUMON_PAGE_PORT" else "--mqtt-port"
    lines = [line for line in said.splitlines() if environment[port] in line]
    assert len(lines) == 1, said
    assert flag in lines[0]


@pytest.mark.parametrize("folder", ["file/data", "/proc/data"])
@pytest.mark.parametrize("subcommand", ["up", "broker", "master"])
def test_a_data_folder_that_cannot_be_written_is_said(
    environment: dict[str, str], tmp_path: Path, subcommand: str, folder: str
) -> None:
    (tmp_path / "file").write_text("")
    code, said = started(environment, subcommand, "--data", str(tmp_path / folder))
    assert code == 3
    assert said.count("\n") == 2
    assert "--data" in said


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--interval", "0"], "--interval"),
        (["--interval", "-1"], "--interval"),
        (["--interval", "x"], "--interval"),
        (["--worker-id", "a/b"], "worker id 'a/b'"),
        (["--worker-id", "a#"], "worker id 'a#'"),
        (["--worker-id", "+"], "worker id '+'"),
        (["--worker-id", "all"], "reserved"),
        (["--master", "http://gpu-master:5000"], "--master mqtts://gpu-master:8883"),
        (["--token-file", "/nonexistent/token"], "/nonexistent/token"),
        (["--label", "rack"], "--label"),
        (["--source", "magic"], "--source"),
    ],
)
def test_an_agent_with_a_wrong_flag_says_which(
    environment: dict[str, str], tmp_path: Path, flags: list[str], named: str
) -> None:
    write_secret(tmp_path / "token", "t")
    ordinary = ["--master", "127.0.0.1", "--token-file", str(tmp_path / "token"), "--source", "simulated"]
    code, said = started(environment, "agent", *ordinary, *flags)
    assert code == 2
    assert named in said
    assert said.count("\n") == 2, said


def test_a_token_that_others_may_read_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    token.chmod(0o644)
    code, said = started(environment, "agent", "--master", "127.0.0.1", "--token-file", str(token))
    assert code == 2
    assert f"chmod 600 {token}" in said


def test_a_subcommand_that_is_not_there_is_answered_with_the_nearest(environment: dict[str, str]) -> None:
    code, said = started(environment, "agnet")
    assert code == 2
    assert "did you mean gpumon agent?" in said


@pytest.mark.parametrize("subcommand", ["up", "broker", "master"])
@pytest.mark.parametrize(("given", "missing"), [("--cert", "--key"), ("--key", "--cert")])
def test_half_a_certificate_names_the_other_half(
    environment: dict[str, str], subcommand: str, given: str, missing: str
) -> None:
    code, said = started(environment, subcommand, "--host", "127.0.0.1", given, "x.pem")
    assert code == 2
    assert f"{missing} is missing" in said
    assert said.count("\n") == 2, said


@pytest.mark.parametrize("subcommand", ["up", "broker", "master"])
def test_a_damaged_authority_is_said_once_and_left_as_it_is(environment: dict[str, str], subcommand: str) -> None:
    folder = Path(environment["GPUMON_DATA"]) / "tls"
    folder.mkdir(parents=True, mode=0o700)
    write_secret(folder / "ca.key", "damaged")
    code, said = started(environment, subcommand, "--host", "127.0.0.1")
    assert code == 3
    assert "ca.key is damaged: restore it from a backup" in said
    assert said.count("\n") == 2, said
    assert (folder / "ca.key").read_text() == "damaged\n"


def test_a_name_that_is_none_is_said(environment: dict[str, str]) -> None:
    code, said = started(environment, "up", "--host", "127.0.0.1", "--tls-name", "*.lab")
    assert code == 2
    assert "'*.lab'" in said
    assert said.count("\n") == 2, said


def test_a_settings_file_with_an_unknown_line_names_it(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[page]\nprot = 1\n")
    code, said = started(environment, "master", "--config", str(tmp_path / "s.toml"))
    assert code == 2
    assert "page.prot: did you mean page.port?" in said


def test_a_damaged_database_is_said_and_left_as_it_is(environment: dict[str, str]) -> None:
    data = Path(environment["GPUMON_DATA"])
    data.mkdir()
    (data / "gpumon.db").write_bytes(b"this is no database, " * 500)
    code, said = started(environment, "master")
    assert code != 0
    assert "gpumon.db" in said
    assert "Traceback" not in said
    assert (data / "gpumon.db").read_bytes().startswith(b"this is no database")
