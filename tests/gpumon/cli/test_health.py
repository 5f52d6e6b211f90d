"""`gpumon health`, as a container's health check runs it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from agent.pulse import STOPPED_AFTER_S, Beat, Pulse, pulse_problem
from gpumon.address import local_page_address
from gpumon.cli import main
from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret
from gpumon.settings import Settings
from tests.support import free_port


def settings_of(**sections: object) -> Settings:
    """Return settings as flags would give them."""
    return msgspec.convert(sections, Settings)


@pytest.mark.parametrize(
    ("sections", "address"),
    [
        ({}, "http://127.0.0.1:5000"),
        ({"host": "0.0.0.0"}, "https://127.0.0.1:5000"),
        ({"host": "::"}, "https://[::1]:5000"),
        ({"host": "10.0.0.5", "tls": {"names": ["gpus.lab"]}}, "https://10.0.0.5:5000"),
        (
            {"host": "0.0.0.0", "page": {"insecure_http": True, "port": 80, "origins": ["https://gpus.lab"]}},
            "http://127.0.0.1:80",
        ),
    ],
)
def test_the_page_is_asked_on_this_machine_and_never_through_its_proxy(
    sections: dict[str, object], address: str
) -> None:
    assert local_page_address(settings_of(**sections)) == address


def folder_of(tmp_path: Path, worker_id: str) -> Path:
    """Return an agent's folder."""
    folder = tmp_path / "agent" / worker_id
    folder.mkdir(parents=True)
    return folder


def test_an_agent_says_what_keeps_it_from_its_work_and_when_that_is_over(tmp_path: Path) -> None:
    pulse = Pulse(folder_of(tmp_path, "w1"))
    pulse.beat("no connection to mqtts://lab:8883: refused")
    assert pulse_problem(tmp_path / "agent", None) == "no connection to mqtts://lab:8883: refused"
    pulse.beat(None)
    assert pulse_problem(tmp_path / "agent", None) is None
    pulse.end()
    assert "no agent that works" in str(pulse_problem(tmp_path / "agent", None))


def write(folder: Path, beat_s: float) -> None:
    """Leave what an agent wrote at that time."""
    (folder / "pulse.json").write_bytes(msgspec.json.encode(Beat(beat_s)))


@pytest.mark.parametrize("age_s", [STOPPED_AFTER_S + 1, -1000.0])
def test_what_a_killed_agent_or_one_before_a_reboot_has_left_does_not_count(tmp_path: Path, age_s: float) -> None:
    write(folder_of(tmp_path, "w1"), time.monotonic() - age_s)
    assert "killed, or hangs" in str(pulse_problem(tmp_path / "agent", "w1"))


def test_without_a_name_the_agent_that_wrote_last_is_meant(tmp_path: Path) -> None:
    write(folder_of(tmp_path, "before"), time.monotonic() - 1000)
    write(folder_of(tmp_path, "now"), time.monotonic())
    (folder_of(tmp_path, "broken") / "pulse.json").write_text("{")
    assert pulse_problem(tmp_path / "agent", None) is None
    assert pulse_problem(tmp_path / "agent", "before") is not None
    assert pulse_problem(tmp_path / "agent", "broken") is not None


def test_a_pulse_is_written_once_in_a_while_and_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "w1")
    pulse = Pulse(folder)
    pulse.beat(None)
    (folder / "pulse.json").unlink()
    pulse.beat(None)
    assert not (folder / "pulse.json").exists()
    Pulse(tmp_path / "missing").beat(None)


@pytest.mark.parametrize(
    ("part", "says", "more"),
    [
        ("master", "the page does not answer", "a-health-check-fails"),
        ("agent", "no agent that works", "a-health-check-fails"),
        ("broker", "master.secret cannot be read", "a-secret-file-is-refused"),
    ],
)
def test_what_does_not_run_is_told_in_a_line_with_a_code_that_is_not_0(
    part: str, says: str, more: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["health", part, "--data", str(tmp_path), "--port", str(free_port()), "--mqtt-port", str(free_port())])
    told = capsys.readouterr()
    assert code != 0
    assert says in told.err
    assert told.err.splitlines()[1:] == [f"More: docs/troubleshooting.md#{more}"]
    assert not told.out


def test_a_broker_that_does_not_answer_is_told_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpumon.cli.broker_health.ANSWER_TIMEOUT_S", 0.2)
    ensure_secret(DataFolder(tmp_path).master_secret)
    assert main(["health", "broker", "--data", str(tmp_path), "--mqtt-port", str(free_port())]) == 1
    assert "no broker answers there" in capsys.readouterr().err
