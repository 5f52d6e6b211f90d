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
from pathlib import Path

SYSFS = Path("/sys")
_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"  # PCI base class 03: display controllers, to which 3D controllers belong


def nvidia_cards(sysfs: Path = SYSFS) -> tuple[str, ...]:
    """Return the PCI bus ids (`0000:1B:00.0`) of all NVIDIA GPUs that the kernel sees, sorted."""
    with contextlib.suppress(OSError):
        folders = sorted((sysfs / "bus/pci/devices").iterdir())
        return tuple(folder.name.upper() for folder in folders if _is_nvidia_gpu(folder))
    return ()


def is_asleep(pci_bus_id: str, sysfs: Path = SYSFS) -> bool:
    """Tell whether a card is powered down now; False where the kernel does not say (a container without sysfs, WSL)."""
    return _text(sysfs / "bus/pci/devices" / pci_bus_id.lower() / "power/runtime_status") == "suspended"


def _is_nvidia_gpu(folder: Path) -> bool:
    return _text(folder / "vendor") == _NVIDIA_VENDOR and _text(folder / "class").startswith(_DISPLAY_CLASS)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
