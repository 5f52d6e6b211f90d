"""The units under config/systemd, judged by systemd itself and held against docs/containers.md."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.support import program_or_skip

UNITS = ROOT / "config" / "systemd"
SERVICES = [*sorted(UNITS.glob("*.service")), *sorted((UNITS / "docker").glob("*.service"))]


def copied(unit: Path, folder: Path) -> Path:
    """Copy a unit, with programs and users that every machine has."""
    text = re.sub(r"(?m)^(Exec\w+=-?)\S+", r"\1/bin/true", unit.read_text())
    text = re.sub(r"(?m)^(User|Group)=gpumon$", r"\1=daemon", text)
    path = folder / unit.name
    path.write_text(re.sub(r"(?m)^Requires=docker.service\n", "", text))
    return path


@pytest.mark.parametrize("unit", [*SERVICES, UNITS / "gpumon-backup.timer"], ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, unit: Path) -> None:
    program = program_or_skip("systemd-analyze", "systemd")
    copied(UNITS / "gpumon-backup.service", tmp_path)  # what the timer starts
    command = [program, "verify", str(copied(unit, tmp_path))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if unit.name in line]
    assert (ended.returncode, said) == (0, [])


def test_the_backup_is_bound_tightly(tmp_path: Path) -> None:
    program = program_or_skip("systemd-analyze", "systemd")
    unit = str(copied(UNITS / "gpumon-backup.service", tmp_path))
    command = [program, "security", "--offline=true", "--threshold=30", unit]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "unrecognized option" in ended.stderr:
        pytest.skip("systemd-analyze is too old to judge a unit that is not loaded: systemd 250 can")
    assert ended.returncode == 0, ended.stdout.splitlines()[-1:]


def run_flags(text: str, image: str) -> list[str]:
    """The words of the `docker run` of an image, but for how it is started again and what is only in one place."""
    found = re.search(rf"docker run ((?:[^\n]*\\\n)*[^\n]* {image})(?:\n|$)", text)
    assert found is not None
    words = shlex.split(found[1].replace("\\\n", " "))
    return [word for word in words if word not in ("-d", "--rm", "--restart", "unless-stopped")]


@pytest.mark.parametrize("part", ["master", "agent"])
def test_a_unit_runs_the_container_as_the_documentation_does(part: str) -> None:
    documented = run_flags((ROOT / "docs" / "containers.md").read_text(), f"gpumon-{part}")
    unit = run_flags((UNITS / "docker" / f"gpumon-{part}.service").read_text(), f"gpumon-{part}")
    added = {"--ulimit", "nofile=65536", "-e", "WORKER_ID", "MASTER_URL", "GPUMON_TLS_NAMES"}
    assert {word for word in documented if not word.startswith("GPUMON_TLS_NAMES")} - set(unit) == set()
    assert set(unit) - set(documented) - added == set()


@pytest.mark.parametrize("part", ["master", "agent"])
def test_podman_is_told_the_same_as_docker(part: str) -> None:
    docker = (UNITS / "docker" / f"gpumon-{part}.service").read_text()
    podman = (UNITS / "podman" / f"gpumon-{part}.container").read_text()
    assert set(re.findall(r"(?m)^Volume=(.*)$", podman)) == set(re.findall(r"-v (\S+)", docker))
    assert set(re.findall(r"(?m)^PublishPort=(.*)$", podman)) == set(re.findall(r"-p (\S+)", docker))
    for line in ("ReadOnly=true", "Tmpfs=/tmp", "DropCapability=ALL", "NoNewPrivileges=true"):
        assert f"\n{line}\n" in podman


def test_podmans_generator_takes_its_files() -> None:
    generator = Path("/usr/libexec/podman/quadlet")
    if not generator.exists():
        pytest.skip("podman has no quadlet here: apt-get install podman brings it from Debian 13 on")
    ended = subprocess.run(
        [generator, "-dryrun", "-no-kmsg-log"],
        env={"QUADLET_UNIT_DIRS": str(UNITS / "podman")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("[Service]") == 2
