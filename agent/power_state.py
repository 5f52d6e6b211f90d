"""Which NVIDIA cards the driver has powered down, read from sysfs, so that nobody wakes one to learn that it is idle.

A card in runtime D3 (NVIDIA driver README, chapter "PCI-Express Runtime D3 (RTD3) Power Management") has `suspended`
in its `power/runtime_status`; reading that file does not touch the card, opening an NVML handle to it does.
nvmlInit itself opens no card (NVML reference: "initialize NVML, but don't initialize any GPUs yet").
What this cannot do: keep a card from staying awake once the agent has opened it, where the driver is set to
coarse-grained power management (it powers a card down only while no program has it open); with fine-grained
management the card sleeps all the same, and is then left alone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SYSFS = Path("/sys")
_DEVICES = "bus/pci/devices"
_DRIVER = "nvidia"
_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"  # PCI base class 03: display controllers, to which 3D controllers belong


def nvidia_cards(sysfs: Path = SYSFS) -> tuple[str, ...]:
    """Return the PCI bus ids (`0000:1B:00.0`) of all GPUs that NVIDIA's driver has taken, sorted.

    One that is handed to a virtual machine (vfio-pci), or that no driver has, also counts as suspended there, but
    NVML knows nothing of it.
    """
    with contextlib.suppress(OSError):
        folders = sorted((sysfs / _DEVICES).iterdir())
        return tuple(folder.name.upper() for folder in folders if _is_nvidia_gpu(folder))
    return ()


def is_asleep(pci_bus_id: str, sysfs: Path = SYSFS) -> bool:
    """Tell whether a card is powered down now; False where the kernel does not say (a container without sysfs, WSL)."""
    return _text(f"{sysfs}/{_DEVICES}/{pci_bus_id.lower()}/power/runtime_status") == "suspended"


def _is_nvidia_gpu(folder: Path) -> bool:
    return (
        _text(f"{folder}/vendor") == _NVIDIA_VENDOR
        and _text(f"{folder}/class").startswith(_DISPLAY_CLASS)
        and (folder / "driver").resolve().name == _DRIVER
    )


def _text(file: str) -> str:
    # a few bytes of each card at every sample: os.open is many times cheaper than a text file
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 64).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
