"""The columns of both lists: what each shows of a line, what it is sorted by, and how wide it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gpumon.cli.top.occupation import free_cards, is_held_idle, occupation, who_is_on
from gpumon.cli.top.words import STATES, age, block, celsius, gibibytes, line, percent, ranges, share, watts
from webui.rows import FleetRow, GpuCell

_STATES = list(STATES)
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list: a worker, or one of its cards."""

    row: FleetRow
    gpu: GpuCell | None = None

    @property
    def key(self) -> str:
        """What it is known by."""
        return self.row.id if self.gpu is None else f"{self.row.id} {self.gpu.uuid}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `text` is what it shows of a line, `value` what it is sorted by (None comes last).

    It is `width` characters wide; one that `fits` only as wide as its longest text, one that is `is_wide` takes what is
    left.
    """

    name: str
    width: int
    text: Callable[[Any], str]
    value: Callable[[Any], Any]
    is_number: bool = False
    fits: bool = False
    is_wide: bool = False
    style: Callable[[Any], str] = lambda _line: ""


def names_of(columns: Sequence[Column]) -> list[str]:
    """Return the columns' names."""
    return [column.name for column in columns]


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts gpu-9 before gpu-10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _NUMBERS.split(text.lower()) if part]


def _seen(line_: Line) -> float | None:
    return None if line_.row.last_seen is None else max(time.time() - line_.row.last_seen, 0.0)


def _row_memory(line_: Line) -> float | None:
    return share(line_.row.memory_used_bytes, line_.row.memory_total_bytes)


def _card(line_: Line) -> GpuCell:
    assert line_.gpu is not None  # noqa: S101 - a line of the list of cards has one  # nosec B101
    return line_.gpu


def _card_memory(line_: Line) -> float | None:
    return share(_card(line_).memory_used_bytes, _card(line_).memory_total_bytes)


def _free(line_: Line) -> str:
    free = free_cards(line_.row)
    return f"{len(free)}: {ranges(free)}" if free else "0"


_CARD_WORDS = {"lost": "! lost", "error": "! error", "asleep": "z asleep", "unknown": "? unread"}


def _card_state(line_: Line) -> str:
    gpu = _card(line_)
    if line_.row.state in ("offline", "stale"):
        return STATES[line_.row.state]
    if gpu.state != "ok":
        return _CARD_WORDS.get(gpu.state, gpu.state)
    if is_held_idle(gpu):
        return "◐ held idle"
    return "■ busy" if occupation(line_.row, gpu) == "busy" else "□ free"


_STATE_STYLES = {"offline": "red", "gpu_lost": "bold red", "degraded": "yellow", "stale": "yellow", "online": "green"}
HOT_FROM_C = 85


def _worker_style(line_: Line) -> str:
    return _STATE_STYLES.get(line_.row.state, "")


def _card_style(line_: Line) -> str:
    gpu = _card(line_)
    if line_.row.state in ("offline", "stale") or gpu.state in ("lost", "error"):
        return "red"
    return "yellow" if is_held_idle(gpu) else "green" if occupation(line_.row, gpu) == "free" else ""


def _hot(celsius_: float | None) -> str:
    return "bold red" if celsius_ is not None and celsius_ >= HOT_FROM_C else ""


WORKER_COLUMNS: tuple[Column, ...] = (
    Column(
        "state",
        18,
        lambda x: STATES[x.row.state],
        lambda x: _STATES.index(x.row.state),
        fits=True,
        style=_worker_style,
    ),
    Column("worker", 32, lambda x: x.row.id, lambda x: natural(x.row.id), fits=True),
    Column("gpus", 4, lambda x: str(x.row.gpu_count), lambda x: x.row.gpu_count, is_number=True),
    Column("cards", 8, lambda x: "".join(block(g.utilization_percent) for g in x.row.gpus), lambda x: x.row.gpu_count),
    Column(
        "util", 6, lambda x: percent(x.row.utilization_percent), lambda x: x.row.utilization_percent, is_number=True
    ),
    Column("mem", 6, lambda x: percent(_row_memory(x)), _row_memory, is_number=True),
    Column(
        "temp",
        6,
        lambda x: celsius(x.row.hottest_c),
        lambda x: x.row.hottest_c,
        is_number=True,
        style=lambda x: _hot(x.row.hottest_c),
    ),
    Column("power", 8, lambda x: watts(x.row.power_w), lambda x: x.row.power_w, is_number=True),
    Column("free", 10, _free, lambda x: len(free_cards(x.row)), is_number=True),
    Column("seen", 10, lambda x: age(_seen(x)), _seen, is_number=True),
    Column("users", 20, lambda x: who_is_on(x.row), lambda x: natural(who_is_on(x.row)) or None, is_wide=True),
)

CARD_COLUMNS: tuple[Column, ...] = (
    Column("state", 18, _card_state, _card_state, fits=True, style=_card_style),
    Column("worker", 32, lambda x: x.row.id, lambda x: natural(x.row.id), fits=True),
    Column(
        "gpu",
        4,
        lambda x: line(None if _card(x).index is None else str(_card(x).index)),
        lambda x: _card(x).index,
        is_number=True,
    ),
    Column("model", 28, lambda x: line(_card(x).name), lambda x: natural(_card(x).name or "") or None, fits=True),
    Column(
        "util",
        6,
        lambda x: percent(_card(x).utilization_percent),
        lambda x: _card(x).utilization_percent,
        is_number=True,
    ),
    Column("mem", 6, lambda x: percent(_card_memory(x)), _card_memory, is_number=True),
    Column(
        "used", 9, lambda x: gibibytes(_card(x).memory_used_bytes), lambda x: _card(x).memory_used_bytes, is_number=True
    ),
    Column(
        "temp",
        6,
        lambda x: celsius(_card(x).temperature_c),
        lambda x: _card(x).temperature_c,
        is_number=True,
        style=lambda x: _hot(_card(x).temperature_c),
    ),
    Column("power", 8, lambda x: watts(_card(x).power_w), lambda x: _card(x).power_w, is_number=True),
    Column(
        "users",
        20,
        lambda x: ", ".join(line(user) for user in _card(x).users),
        lambda x: natural(", ".join(_card(x).users)) or None,
        is_wide=True,
    ),
)
