"""What the NVIDIA driver and its libraries say on this machine, from the card on the bus up to nvidia-smi."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace

from gpumon.cli.doctor.containers import look_at_containers
from gpumon.cli.doctor.finding import Finding, Verdict, not_installed, wrong
from gpumon.cli.doctor.system import System
from gpumon.errors import GpumonError

INSTALL = "pip install 'gpumon[agent]', if this is to be a worker"
IN_CONTAINER = "start the container with --gpus all, with utility in NVIDIA_DRIVER_CAPABILITIES if that is set"
NVIDIA_VENDOR = "0x10de"
# The classes of display and 3D controllers in PCI's code and ID assignment; others of the vendor are sound and USB.
_GRAPHICS_CLASSES = ("0x0300", "0x0302")
_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)")


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
    yield _nvml(system)
    yield _nvidia_smi(system)
    yield from look_at_containers(system)


def _cards(system: System) -> Finding:
    found = 0
    for device in system.path("/sys/bus/pci/devices").glob("*"):
        vendor, kind = (system.read(f"/sys/bus/pci/devices/{device.name}/{name}") for name in ("vendor", "class"))
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
    version = _VERSION.search(system.read("/proc/driver/nvidia/version"))
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
        to_do = IN_CONTAINER if system.is_container else "run nvidia-smi once as root, or reboot"
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


def _nvml(system: System) -> Finding:
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
        found = wrong(what, error)
        if system.is_container and not _has_library():
            return replace(found, to_do=IN_CONTAINER)
        return found
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


def _has_library() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _nvidia_smi(system: System) -> Finding:
    what = "nvidia-smi"
    if shutil.which("nvidia-smi") is None:
        return Finding(
            what,
            Verdict.WARNING,
            "it is not installed, or not on PATH",
            IN_CONTAINER if system.is_container else "nothing while NVML answers; it comes with package nvidia-utils",
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
