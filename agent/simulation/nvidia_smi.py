"""Stands in for `nvidia-smi` on a simulated worker: prints its cards, for `-L` and as a table.

Run as a program: `python nvidia_smi.py CARDS.json [-L]`, by a small script that `install` writes for each worker.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

USAGE = "This nvidia-smi shows simulated GPUs: it knows -L and, without options, a table."


def install(folder: Path, cards_file: Path) -> Path:
    """Write a `nvidia-smi` that shows the cards in a file (a `metrics` payload); return the folder for the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    words = [sys.executable, "-S", "-E", str(Path(__file__).resolve()), str(cards_file.resolve())]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    return folder.resolve()


def listing(gpus: list[dict[str, Any]]) -> list[str]:
    """Return what `nvidia-smi -L` prints."""
    lines = []
    for gpu in gpus:
        lines.append(f"GPU {gpu['index']}: {gpu['name']} (UUID: {gpu['uuid']})")
        lines += [
            f"  MIG {device['profile']:<12} Device {place:>2}: (UUID: {device['uuid']})"
            for place, device in enumerate(gpu["mig_devices"])
        ]
    return lines


def table(gpus: list[dict[str, Any]]) -> list[str]:
    """Return a table of cards and processes like the one that `nvidia-smi` prints."""
    rule = f"+{'-' * 90}+"
    lines = [rule, f"| {'NVIDIA-SMI (simulated)':<88} |", rule]
    lines.append(f"| {'GPU  Name':<32}{'Fan':>5}{'Temp':>6}{'Perf':>6}{'Power':>14}{'Memory':>18}{'Util':>6}  |")
    lines.append(rule)
    for gpu in gpus:
        fan = "N/A" if gpu["fan_percent"] is None else f"{gpu['fan_percent']}%"
        utilization = "N/A" if gpu["utilization_percent"] is None else f"{gpu['utilization_percent']}%"
        power = f"{gpu['power_w']:.0f}W/{gpu['power_limit_w']:.0f}W"
        memory = f"{_mib(gpu['memory_used_bytes'])}/{_mib(gpu['memory_total_bytes'])}"
        name = f"{gpu['index']:>3}  {gpu['name'][:26]}"
        lines.append(
            f"| {name:<32}{fan:>5}{gpu['temperature_c']:>5}C{'P' + str(gpu['performance_state']):>6}"
            f"{power:>14}{memory:>18}{utilization:>6}  |"
        )
    lines += [rule, f"| {'GPU   PID      User        Process':<68}{'GPU memory':>18}  |", rule]
    for gpu in gpus:
        for process in gpu["processes"]:
            name = (
                f"{gpu['index']:>3}   {process['pid']:<8} {process['user']:<11} {process['command'] or process['name']}"
            )
            lines.append(f"| {name[:68]:<68}{_mib(process['memory_bytes']):>18}  |")
    if not any(gpu["processes"] for gpu in gpus):
        lines.append(f"| {'No running processes found':<86}  |")
    return [*lines, rule]


def main(arguments: list[str]) -> int:
    """Print the cards in the file that the first argument names."""
    gpus = json.loads(Path(arguments[0]).read_text())["gpus"]
    if arguments[1:] in (["-L"], ["--list-gpus"]):
        lines = listing(gpus)
    elif not arguments[1:]:
        lines = table(gpus)
    else:
        sys.stderr.write(USAGE + "\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _mib(size: int) -> str:
    return f"{size // 2**20}MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
