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
    rule = f"+{'-' * 88}+"
    lines = [rule, _row("NVIDIA-SMI (simulated)"), rule]
    lines += [_row(f"{'GPU  Name':<31}{'Fan':>5}{'Temp':>6}{'Perf':>6}{'Power':>14}{'Memory':>18}{'Util':>6}"), rule]
    for gpu in gpus:
        name = f"{gpu['index']:>3}  {gpu['name'][:25]}"
        power = f"{gpu['power_w']:.0f}W/{gpu['power_limit_w']:.0f}W"
        memory = f"{_mib(gpu['memory_used_bytes'])}/{_mib(gpu['memory_total_bytes'])}"
        lines.append(
            _row(
                f"{name:<31}{_percent(gpu['fan_percent']):>5}{gpu['temperature_c']:>5}C"
                f"{'P' + str(gpu['performance_state']):>6}{power:>14}{memory:>18}"
                f"{_percent(gpu['utilization_percent']):>6}"
            )
        )
    lines += [rule, _row(f"{'GPU  PID      User        Process':<68}{'GPU memory':>18}"), rule]
    for gpu in gpus:
        for process in gpu["processes"]:
            name = (
                f"{gpu['index']:>3}  {process['pid']:<8} {process['user']:<11} {process['command'] or process['name']}"
            )
            lines.append(_row(f"{name[:68]:<68}{_mib(process['memory_bytes']):>18}"))
    if not any(gpu["processes"] for gpu in gpus):
        lines.append(_row("No running processes found"))
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


def _row(text: str) -> str:
    return f"| {text:<86} |"


def _percent(value: int | None) -> str:
    return "N/A" if value is None else f"{value}%"


def _mib(size: int) -> str:
    return f"{size // 2**20}MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
