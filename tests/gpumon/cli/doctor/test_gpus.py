"""What is said of a machine's driver and cards, on machines made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.gpus import look_at_gpus
from gpumon.cli.doctor.system import System

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"
OPEN_VERSION = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"


def put(root: Path, path: str, text: str = "") -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def with_card(root: Path) -> None:
    put(root, "sys/bus/pci/devices/0000:1b:00.0/vendor", "0x10de\n")
    put(root, "sys/bus/pci/devices/0000:1b:00.0/class", "0x030200\n")
    put(root, "sys/bus/pci/devices/0000:1b:00.1/vendor", "0x10de\n")
    put(root, "sys/bus/pci/devices/0000:1b:00.1/class", "0x040300\n")  # its sound


def found(root: Path, what: str) -> Finding:
    return next(finding for finding in look_at_gpus(System(root), are_needed=True) if finding.what == what)


def test_cards_are_counted_without_their_sound_devices(tmp_path: Path) -> None:
    with_card(tmp_path)
    assert found(tmp_path, "NVIDIA cards").found == "1 on the PCI bus"


@pytest.mark.parametrize("text", [VERSION, OPEN_VERSION])
def test_the_loaded_driver_is_named(tmp_path: Path, text: str) -> None:
    put(tmp_path, "proc/driver/nvidia/version", text)
    assert found(tmp_path, "NVIDIA driver").found == "version 580.95.05 is loaded"


def test_a_missing_driver_is_answered_with_what_to_do(tmp_path: Path) -> None:
    missing = found(tmp_path, "NVIDIA driver")
    assert missing.verdict is Verdict.BAD
    assert "ubuntu-drivers" in (missing.to_do or "")
    put(tmp_path, ".dockerenv")
    assert "--gpus all" in (found(tmp_path, "NVIDIA driver").to_do or "")


def test_nouveau_in_the_drivers_place_is_told(tmp_path: Path) -> None:
    put(tmp_path, "sys/module/nouveau/refcnt")
    assert "nouveau" in found(tmp_path, "NVIDIA driver").found


def test_device_files_that_are_missing_or_can_be_opened_are_told(tmp_path: Path) -> None:
    assert found(tmp_path, "device files").verdict is Verdict.BAD
    put(tmp_path, "dev/nvidiactl")
    put(tmp_path, "dev/nvidia0")
    put(tmp_path, "dev/nvidia-uvm")
    assert found(tmp_path, "device files") == Finding("device files", Verdict.GOOD, "/dev/nvidia0 can be opened")


def test_a_master_without_a_card_is_well(tmp_path: Path) -> None:
    (only,) = look_at_gpus(System(tmp_path), are_needed=False)
    assert only.verdict is Verdict.GOOD
    with_card(tmp_path)
    assert len(list(look_at_gpus(System(tmp_path), are_needed=False))) > 1


def test_in_a_container_without_gpus_what_to_do_is_said_of_the_container(tmp_path: Path) -> None:
    put(tmp_path, ".dockerenv")
    put(tmp_path, "proc/driver/nvidia/version", VERSION)  # the host's, which a container sees too
    assert found(tmp_path, "NVIDIA driver").verdict is Verdict.GOOD
    for what in ("device files", "NVML", "nvidia-smi"):
        assert "--gpus all" in (found(tmp_path, what).to_do or "")
