"""Who is on which card, as the page tells it."""

from __future__ import annotations

from typing import Literal

from gpumon.cli.top.words import line, ranges
from webui.rows import FleetRow, GpuCell

# A driver's own work stays below this.
BUSY_FROM_PERCENT = 5


def occupation(row: FleetRow, gpu: GpuCell) -> Literal["free", "busy", "absent"]:
    """Tell how busy a card is; absent: it or its worker does not answer."""
    if row.state == "offline" or gpu.state not in ("ok", "asleep"):
        return "absent"
    is_busy = gpu.processes > 0 or (gpu.utilization_percent or 0) >= BUSY_FROM_PERCENT
    return "busy" if is_busy else "free"


def is_held_idle(gpu: GpuCell) -> bool:
    """Tell whether somebody's memory is on the card though it computes nothing."""
    utilization = gpu.utilization_percent
    return gpu.processes > 0 and utilization is not None and utilization < BUSY_FROM_PERCENT


def free_cards(row: FleetRow) -> list[int]:
    """Return the indices of the cards that nobody is on."""
    return [gpu.index for gpu in row.gpus if gpu.index is not None and occupation(row, gpu) == "free"]


def who_is_on(row: FleetRow) -> str:
    """Return the users with the cards they are on: `research 0-3, physics 5`."""
    by_user: dict[str, list[int]] = {}
    for gpu in row.gpus:
        for user in gpu.users:
            if gpu.index is not None:
                by_user.setdefault(line(user), []).append(gpu.index)
    return ", ".join(f"{user} {ranges(cards)}" for user, cards in by_user.items())
