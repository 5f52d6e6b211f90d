"""`gpumon doctor` on machines that are well, and on some that are not; and `gpumon health` beside it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gpumon.cli.supervisor import gpumon_command
from tests import standin
from tests.end_to_end.running import CLEAN_ENVIRONMENT, Running, an_agent, gpumon_up
from tests.support import eventually, free_port

HOST = "127.0.0.2"  # of the loopback network too, but not where gpumon is without --host
TLS = ("name", "port", "certificate", "log-in", "topics")


@pytest.fixture(scope="module")
def tls_port() -> int:
    """The broker's port for other machines."""
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, tls_port: int) -> Iterator[Running]:
    """A master for other machines, with the account of a worker."""
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        running = stack.enter_context(gpumon_up(folder, "--host", HOST, "--mqtts-port", str(tls_port)))
        stack.enter_context(an_agent(running, "w1", "--source", "simulated"))
        yield running


def diagnosed(environment: Mapping[str, str], folder: Path, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and what was found by what was looked at."""
    ended = subprocess.run(
        gpumon_command("doctor", "--json", *flags),
        env=dict(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not ended.stderr, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return ended.returncode, {finding["what"]: finding for finding in found}


def of_worker(fleet: Running, tls_port: int, *, host: str = HOST) -> list[str]:
    """Return what an agent on another machine is started with."""
    token = str(fleet.data.token_file("w1"))
    where = f"mqtts://{host}:{tls_port}"
    return ["--master", where, "--worker-id", "w1", "--token-file", token, "--cafile", str(fleet.data.authority)]


def test_a_running_master_is_well(fleet: Running, tmp_path: Path) -> None:
    code, found = diagnosed(fleet.environment, tmp_path)
    assert {what: finding["found"] for what, finding in found.items() if finding["verdict"] == "bad"} == {}
    assert code == 0
    assert "needs none" in found["NVIDIA cards"]["found"]
    assert found["page"]["found"] == f"{fleet.page} answers"
    assert found["database"]["verdict"] == "good"
    assert found["log-in"]["found"] == "master is let in"
    assert found["certificate"]["section"].startswith(f"What other machines reach: mqtts://{HOST}:")
    assert found["certificate"]["found"].startswith("trusted, for another ")
    assert found["certificate"]["see"] == "docs/troubleshooting.md#a-worker-does-not-appear"


def test_a_worker_sees_the_whole_way_to_its_master(fleet: Running, tls_port: int, tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data")}
    _, found = diagnosed(environment, tmp_path, *of_worker(fleet, tls_port))
    assert [found[what]["verdict"] for what in TLS] == ["good"] * len(TLS)
    assert found["topics"]["found"] == "w1 may read gpumon/w1/cmd, gpumon/all/cmd"
    assert found["certificate"]["found"].startswith("trusted, for another ")


def test_a_worker_compares_its_clock_with_that_of_the_masters_page(
    fleet: Running, tls_port: int, tmp_path: Path
) -> None:
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data")}
    page_port = fleet.environment["GPUMON_PAGE_PORT"]
    _, found = diagnosed(environment, tmp_path, *of_worker(fleet, tls_port), "--port", page_port)
    assert found["clocks"]["found"] == "this clock and the master's agree"


def test_a_certificate_of_an_unknown_authority_is_told(fleet: Running, tls_port: int, tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data")}
    code, found = diagnosed(environment, tmp_path, *of_worker(fleet, tls_port)[:-2])
    assert code == 1
    assert found["certificate"]["verdict"] == "bad"
    assert "join-key" in found["certificate"]["to_do"]
    assert "log-in" not in found


def test_a_wrong_token_is_told_with_how_to_get_another(fleet: Running, tls_port: int, tmp_path: Path) -> None:
    wrong = tmp_path / "token.txt"
    wrong.touch(0o600)
    wrong.write_text("wrong")
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data")}
    _, found = diagnosed(environment, tmp_path, *of_worker(fleet, tls_port), "--token-file", str(wrong))
    assert found["log-in"]["verdict"] == "bad"
    assert "gpumon join-key --worker-id w1 --replace" in found["log-in"]["to_do"]


def test_a_name_or_port_that_leads_nowhere_ends_the_way_there(fleet: Running, tls_port: int, tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data")}
    _, found = diagnosed(environment, tmp_path, *of_worker(fleet, free_port()))
    assert (found["port"]["verdict"], "certificate" in found) == ("bad", False)
    _, found = diagnosed(environment, tmp_path, *of_worker(fleet, tls_port, host="gpu-master.invalid"))
    assert (found["name"]["verdict"], "port" in found) == ("bad", False)


def test_a_machine_that_has_joined_nothing_is_told_how_to(tmp_path: Path) -> None:
    environment = {**CLEAN_ENVIRONMENT, "GPUMON_DATA": str(tmp_path / "data"), "WORKER_ID": "new"}
    code, found = diagnosed(environment, tmp_path)
    assert code == 1
    assert "gpumon agent --join -" in found["joined"]["to_do"]
    assert not (tmp_path / "data").exists()


def test_nvml_says_how_many_gpus_answer(tmp_path: Path) -> None:
    library = standin.build(tmp_path / "library")
    state = standin.Standin(gpus=[standin.StandinGpu(), standin.StandinGpu()]).write(tmp_path / "gpus.txt")
    environment = {**standin.environment(library, state), "GPUMON_DATA": str(tmp_path / "data")}
    _, found = diagnosed(environment, tmp_path)
    assert found["NVML"]["verdict"] == "good"
    assert "2 GPUs" in found["NVML"]["found"]


def test_a_master_that_does_not_run_and_lies_open_is_told(tmp_path: Path) -> None:
    with gpumon_up(tmp_path) as running:
        environment, data = running.environment, running.data
    data.master_secret.chmod(0o644)
    with socket.create_server(("127.0.0.1", int(environment["GPUMON_PAGE_PORT"]))):
        code, found = diagnosed(environment, tmp_path)
    assert code == 1
    assert running.gpumon("health", "master").returncode == 1
    assert found["secrets"]["to_do"] == f"chmod 600 {data.master_secret}"
    assert "gpumon up" in found["page"]["to_do"]
    assert "something else listens" in found["page's port"]["found"]
    assert "broker's port" not in found
    assert found["broker"]["verdict"] == "bad"


@pytest.mark.parametrize("part", ["master", "agent", "broker"])
def test_a_health_check_that_knows_no_flags_finds_what_works(fleet: Running, part: str) -> None:
    assert eventually(lambda: fleet.gpumon("health", part).stdout) == f"the {part} works\n"


def test_a_health_check_of_an_agent_that_does_not_run_fails(fleet: Running) -> None:
    asked = fleet.gpumon("health", "agent", "--worker-id", "w2")
    assert (asked.returncode, asked.stdout, asked.stderr.count("\n")) == (1, "", 2)


def test_people_read_it_in_lines_with_what_to_do_below(fleet: Running) -> None:
    shown = fleet.gpumon("doctor").stdout
    assert "  ✓ database " in shown
    assert shown.endswith("\nnothing to mend\n")


def test_another_broker_is_tried_with_the_account_that_is_given_and_never_with_the_masters_secret(
    fleet: Running, tls_port: int
) -> None:
    broker = f"mqtts://{HOST}:{tls_port}"
    without = fleet.gpumon("doctor", "--broker", broker, "--cafile", str(fleet.data.authority), "--json")
    found = {finding["what"]: finding for finding in json.loads(without.stdout)}
    assert found["log-in"]["verdict"] == "bad"
    assert "master is let in" not in without.stdout
    missing = fleet.gpumon("doctor", "--broker", broker, "--username", "admin")
    assert "go together" in missing.stderr
