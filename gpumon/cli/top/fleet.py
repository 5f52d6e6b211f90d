"""Which lines are shown, in which order, and the sums over the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpumon.cli.top.columns import CARD_COLUMNS, WORKER_COLUMNS, Column, Line, natural
from gpumon.cli.top.occupation import is_held_idle, occupation
from gpumon.cli.top.search import Search
from gpumon.cli.top.words import celsius, of, percent, watts
from webui.rows import FleetRow


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, and which way."""

    column: str = "worker"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of the fleet: workers or cards, those that are searched for, in an order."""

    is_cards: bool
    search: Search
    order: Order

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the list."""
        return CARD_COLUMNS if self.is_cards else WORKER_COLUMNS

    def of(self, rows: Iterable[FleetRow]) -> list[Line]:
        """Return the lines to show; those without the reading that orders them come last either way."""
        if self.is_cards:
            lines = [Line(row, gpu) for row in rows for gpu in row.gpus if self.search.has_card(row, gpu)]
        else:
            lines = [Line(row) for row in rows if self.search.has_worker(row)]
        lines.sort(key=_place)
        column = next((c for c in self.columns if c.name == self.order.column), self.columns[1])
        valued = [(column.value(line), line) for line in lines]
        known = [(value, line) for value, line in valued if value is not None]
        known.sort(key=lambda pair: pair[0], reverse=self.order.descending)
        return [line for _, line in known] + [line for value, line in valued if value is None]


def _place(line: Line) -> tuple[list[tuple[int, int, str]], int]:
    index = line.gpu.index if line.gpu is not None else None
    return natural(line.row.id), 1_000_000 if index is None else index


def sums(rows: Sequence[FleetRow]) -> str:
    """Return one line over the whole fleet; readings of workers that are offline do not count."""
    online = sum(row.state not in ("offline", "stale") for row in rows)
    states = [occupation(row, gpu) for row in rows for gpu in row.gpus]
    live = [(row, gpu) for row in rows if row.state != "offline" for gpu in row.gpus]
    held = sum(is_held_idle(gpu) for _, gpu in live)
    utilizations = [gpu.utilization_percent for _, gpu in live if gpu.utilization_percent is not None]
    used = [gpu.memory_used_bytes for _, gpu in live if gpu.memory_used_bytes is not None]
    total = [gpu.memory_total_bytes for _, gpu in live if gpu.memory_total_bytes is not None]
    power = [gpu.power_w for _, gpu in live if gpu.power_w is not None]
    heats = [(gpu.temperature_c, row.id, gpu.index) for row, gpu in live if gpu.temperature_c is not None]
    hottest = max(heats, key=lambda heat: heat[0], default=None)
    mean = sum(utilizations) / len(utilizations) if utilizations else None
    idle = f" ({held} held idle)" if held else ""
    parts = [
        f"workers {online}/{len(rows)} online",
        f"GPUs {states.count('busy')} busy{idle}, {states.count('free')} free of {len(states)}",
        f"util {percent(mean)}",
        f"memory {of(sum(used) if used else None, sum(total) if total else None)}",
        f"power {watts(sum(power) if power else None)}",
    ]
    if hottest is not None:
        parts.append(f"hottest {celsius(hottest[0])} on {hottest[1]} #{hottest[2]}")
    return " · ".join(parts)
