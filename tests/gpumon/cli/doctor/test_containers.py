"""What is said of containers, on machines made of files and programs that do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.cli.doctor.containers import look_at_containers
from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.system import System

RUNTIME = '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'
TOOLKIT = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli")
CDI = "kind: nvidia.com/gpu\nmounts: [{hostPath: /usr/lib/libnvidia-ml.so.580.95.05}]\n"


class Machine:
    """A machine of files, with programs on PATH."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "root"
        self.programs = root / "bin"
        self.programs.mkdir()
        monkeypatch.setenv("PATH", str(self.programs))

    def install(self, *names: str) -> None:
        for name in names:
            (self.programs / name).write_text("#!/bin/sh\n")
            (self.programs / name).chmod(0o755)

    def put(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def found(self) -> dict[str, Finding]:
        return {finding.what: finding for finding in look_at_containers(System(self.root))}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_without_an_engine_for_containers_none_of_it_is_needed(machine: Machine) -> None:
    assert [finding.verdict for finding in machine.found().values()] == [Verdict.GOOD]


def test_an_engine_without_the_toolkit_or_with_a_part_of_it_is_told(machine: Machine) -> None:
    machine.install("docker", "podman")
    assert machine.found()["container toolkit"].found == "it is not installed, beside docker and podman"
    machine.install("nvidia-ctk")
    assert "nvidia-container-cli" in machine.found()["container toolkit"].found
    assert "docker" not in machine.found()


def test_docker_is_told_of_the_toolkit_by_its_runtime_or_by_cdi(machine: Machine) -> None:
    machine.install("docker", *TOOLKIT)
    assert "nvidia-ctk runtime configure" in (machine.found()["docker"].to_do or "")
    machine.put("etc/docker/daemon.json", RUNTIME)
    assert machine.found()["docker"].verdict is Verdict.GOOD
    for broken in ("not JSON", "[]", '{"runtimes": 3}'):
        machine.put("etc/docker/daemon.json", broken)
        assert "cannot be read" in machine.found()["docker"].found
    machine.put("etc/docker/daemon.json", "{}")
    machine.put("etc/cdi/nvidia.yaml", CDI)
    assert machine.found()["docker"].verdict is Verdict.GOOD


def test_podman_needs_a_cdi_specification_of_nvidia(machine: Machine) -> None:
    machine.install("podman", *TOOLKIT)
    machine.put("etc/cdi/other.yaml", "kind: vendor.com/nic\n")
    assert "nvidia-ctk cdi generate" in (machine.found()["podman"].to_do or "")
    machine.put("var/run/cdi/nvidia.json", CDI)
    assert machine.found()["podman"].verdict is Verdict.GOOD


def test_a_cdi_specification_for_another_driver_than_the_loaded_one_is_told(machine: Machine) -> None:
    machine.install("podman", *TOOLKIT)
    machine.put("etc/cdi/nvidia.yaml", CDI)
    machine.put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue\n")
    assert machine.found()["CDI"].verdict is Verdict.GOOD
    machine.put("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  590.10  Tue\n")
    assert machine.found()["CDI"].found == "nvidia.yaml is for driver 580.95.05, and 590.10 is loaded"


def test_within_a_container_nothing_is_said_of_the_host(machine: Machine) -> None:
    machine.install("docker")
    machine.put("run/.containerenv", "")
    assert [finding.verdict for finding in machine.found().values()] == [Verdict.UNKNOWN]
