"""A machine's power states as sysfs shows them, and what NVML says in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.processes import ProcessTable
from agent.samplers.base import Inventory, Readings, SamplerError
from agent.samplers.nvml import NvmlSampler

PAUSE_S = 1.0
ROOT = Path(__file__).parents[3]


class Looked(msgspec.Struct):
    """What a sampler said: two looks, or why it could not be started."""

    inventory: Inventory | None = None
    looks: list[Readings] = []
    refusal: str | None = None


def look(environment: Mapping[str, str]) -> Looked:
    """Read this machine's GPUs twice, in a process of its own: the library that is loaded first stays for good."""
    answer = subprocess.run(
        [sys.executable, "-m", __name__],
        env=dict(environment),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return msgspec.convert(json.loads(answer.stdout), Looked)


def card_in_sysfs(sysfs: Path, bus_id: str, status: str, driver: str | None = "nvidia") -> Path:
    """Make the kernel's entry of a GPU, bound to this driver and in this power state; return its folder."""
    folder = sysfs / "bus/pci/devices" / bus_id.lower()
    (folder / "power").mkdir(parents=True, exist_ok=True)
    (folder / "vendor").write_text("0x10de\n")
    (folder / "class").write_text("0x030200\n")
    (folder / "power/runtime_status").write_text(f"{status}\n")
    if driver is not None and not (folder / "driver").is_symlink():
        target = sysfs / "bus/pci/drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(target)
    return folder


def main() -> None:
    """Look, and print it as JSON."""
    sampler = NvmlSampler(ProcessTable())
    try:
        sampler.start()
    except SamplerError as error:
        looked = Looked(refusal=str(error))
    else:
        first = sampler.read()
        time.sleep(PAUSE_S)  # rates need time to pass
        looked = Looked(sampler.inventory(), [first, sampler.read()])
        sampler.stop()
    sys.stdout.buffer.write(msgspec.json.encode(looked))


if __name__ == "__main__":
    main()
