"""What the NVIDIA driver and its libraries say on this machine, from the card on the bus up to nvidia-smi."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpumon.cli.doctor.finding import Finding, Verdict, not_installed, wrong
from gpumon.errors import GpumonError

INSTALL = "pip install 'gpumon[agent]', if this is to be a worker"
NVIDIA_VENDOR = "0x10de"
# The classes of display and 3D controllers in PCI's code and ID assignment; others of the vendor are sound and USB.
_GRAPHICS_CLASSES = ("0x0300", "0x0302")
_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class System:
    """The machine that is looked at; tests give a folder in place of `/`."""

    root: Path = Path("/")

    def path(self, text: str) -> Path:
        """Return where a file of the machine is."""
        return self.root / text.lstrip("/")

    @property
    def is_container(self) -> bool:
        """Whether this runs in a container, as Docker, Podman and Kubernetes mark theirs."""
        marks = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
        return any(self.path(mark).exists() for mark in marks)


def look_at_gpus(system: System, *, are_needed: bool) -> Iterator[Finding]:
    """Look at cards, driver, device files, NVML and nvidia-smi, in the order in which each needs the one before.

    Where no GPU is needed (a master alone) and none is there, that is all.
    """
    cards = _cards(system)
    if not are_needed and cards.verdict is not Verdict.GOOD:
        yield Finding(cards.what, Verdict.GOOD, f"{cards.found}, and a master needs none")
        return
    yield cards
    yield _driver(system)
    yield _device_files(system)
    yield _nvml()
    yield _nvidia_smi()
    yield _container_toolkit(system)


def _cards(system: System) -> Finding:
    found = 0
    for device in system.path("/sys/bus/pci/devices").glob("*"):
        vendor, kind = _read(device / "vendor"), _read(device / "class")
        found += vendor == NVIDIA_VENDOR and kind.startswith(_GRAPHICS_CLASSES)
    if found:
        return Finding("NVIDIA cards", Verdict.GOOD, f"{found} on the PCI bus")
    return Finding(
        "NVIDIA cards",
        Verdict.WARNING,
        "none is on the PCI bus",
        "nothing, if this machine has no GPU; else see lspci, the power cables and the BIOS (Above 4G Decoding)",
    )


def _driver(system: System) -> Finding:
    what = "NVIDIA driver"
    version = _VERSION.search(_read(system.path("/proc/driver/nvidia/version")))
    if version:
        return Finding(what, Verdict.GOOD, f"version {version[1]} is loaded")
    if system.path("/sys/module/nouveau").exists():
        return Finding(
            what,
            Verdict.BAD,
            "the free driver nouveau is loaded in its place",
            "install NVIDIA's driver (Ubuntu: sudo ubuntu-drivers install --gpgpu) and reboot",
        )
    to_do = "install it (Ubuntu: sudo ubuntu-drivers install --gpgpu) and reboot; or see dmesg for why it failed"
    if system.is_container:
        to_do = "start the container with --gpus all; if that is so, install the driver on the host"
    return Finding(what, Verdict.BAD, "it is not loaded", to_do)


def _device_files(system: System) -> Finding:
    what = "device files"
    cards = sorted(path for path in system.path("/dev").glob("nvidia*") if path.name[6:].isdigit())
    control = system.path("/dev/nvidiactl")
    if not control.exists() or not cards:
        to_do = (
            "start the container with --gpus all" if system.is_container else "run nvidia-smi once as root, or reboot"
        )
        return Finding(what, Verdict.BAD, "/dev/nvidiactl or /dev/nvidia0 is not there", to_do)
    closed = [path.name for path in (control, *cards) if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        to_do = "add this user to the group that owns them (often video or render), and log in again"
        return Finding(what, Verdict.BAD, f"this user may not open /dev/{', /dev/'.join(closed)}", to_do)
    return Finding(
        what,
        Verdict.GOOD,
        f"/dev/nvidia0 to {len(cards) - 1} can be opened" if len(cards) > 1 else "/dev/nvidia0 can be opened",
    )


def _nvml() -> Finding:
    what = "NVML"
    try:
        # Where only a master is installed, what reads NVML is not.
        nvml = importlib.import_module("agent.nvml").Nvml()
        pynvml = importlib.import_module("pynvml")
    except ModuleNotFoundError as error:
        return not_installed(what, error, INSTALL)
    try:
        nvml.start()
        count = nvml.query(pynvml.nvmlDeviceGetCount)
        version = nvml.query(pynvml.nvmlSystemGetDriverVersion)
    except GpumonError as error:
        return wrong(what, error)
    finally:
        nvml.stop()
    if not count:
        return Finding(
            what,
            Verdict.BAD,
            f"driver {version} answers, but finds no GPU",
            "see dmesg for NVRM: the cards may have failed to start",
        )
    return Finding(what, Verdict.GOOD, f"driver {version} answers for {count} GPU{'s' if count > 1 else ''}")


def _nvidia_smi() -> Finding:
    what = "nvidia-smi"
    if shutil.which("nvidia-smi") is None:
        return Finding(
            what,
            Verdict.WARNING,
            "it is not installed, or not on PATH",
            "nothing while NVML answers; it comes with the driver's package nvidia-utils",
        )
    try:
        listing: str = importlib.import_module("agent.samplers.nvidia_smi").NvidiaSmi().run("-L")
    except ModuleNotFoundError as error:
        return not_installed(what, error, INSTALL)
    except GpumonError as error:
        return Finding(what, Verdict.BAD, str(error), "run nvidia-smi by hand, and see dmesg")
    cards = sum(line.startswith("GPU ") for line in listing.splitlines())
    if not cards:
        return Finding(what, Verdict.BAD, "it runs, but lists no GPU", "run nvidia-smi -L by hand, and see dmesg")
    return Finding(what, Verdict.GOOD, f"it lists {cards} GPU{'s' if cards > 1 else ''}")


def _container_toolkit(system: System) -> Finding:
    what = "container toolkit"
    if system.is_container:
        return Finding(what, Verdict.UNKNOWN, "this is a container: look on the host", "nothing, if NVML answers")
    engines = [engine for engine in ("docker", "podman") if shutil.which(engine)]
    if not engines:
        return Finding(what, Verdict.GOOD, "not needed: neither docker nor podman is here")
    if shutil.which("nvidia-ctk") is None:
        to_do = "nothing, unless the agent is to run in a container: then install nvidia-container-toolkit"
        return Finding(what, Verdict.WARNING, f"{engines[0]} is here, nvidia-ctk is not", to_do)
    if engines[0] == "docker" and not _docker_knows_it(system):
        to_do = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
        return Finding(what, Verdict.WARNING, "installed, but docker is not told of it", to_do)
    return Finding(what, Verdict.GOOD, f"installed, for {' and '.join(engines)}")


def _docker_knows_it(system: System) -> bool:
    try:
        runtimes = json.loads(_read(system.path("/etc/docker/daemon.json")) or "{}").get("runtimes", {})
    except (ValueError, AttributeError):
        return False
    return "nvidia" in runtimes or any(system.path("/etc/cdi").glob("nvidia*"))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
