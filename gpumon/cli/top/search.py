"""The page's search in the terminal: `user:research temp>80 free label:rack=3`.

A word is looked for everywhere. Several terms must all hold; `-` before a term turns it round. What is said of cards
(user, gpu, readings, free, busy, held, lost, asleep) must hold for one and the same card; turned round, for none of a
worker's cards.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from gpumon.cli.top.occupation import is_held_idle, occupation
from gpumon.cli.top.words import STATES, share
from webui.rows import FleetRow, GpuCell

OfRow = Callable[[FleetRow], bool]
OfCard = Callable[[GpuCell, FleetRow], bool]

_COMPARISON = re.compile(r"(temp|util|mem|power|gpus)(<=|>=|<|>|=)(\d+(?:\.\d+)?)(%|°?c|k?w|[gt]i?b?)?")
_KEYED = re.compile(r"(user|gpu|worker|label|state|source):(.+)", re.DOTALL)
_WORDS = re.compile(r'(?:[^\s"]+|"[^"]*"?)+')
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": lambda measured, bound: round(measured) == bound,
}
_BYTES = {"g": 2**30, "t": 2**40}
_MARKS: dict[str, OfCard] = {
    "free": lambda gpu, row: occupation(row, gpu) == "free",
    "busy": lambda gpu, row: occupation(row, gpu) == "busy",
    "held": lambda gpu, row: row.state != "offline" and is_held_idle(gpu),
    "lost": lambda gpu, _row: gpu.state == "lost",
    "asleep": lambda gpu, _row: gpu.state == "asleep",
}


class Search:
    """A search as tests of workers and of their cards."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._rows: list[OfRow] = []
        self._cards: list[OfCard] = []
        self._no_cards: list[OfCard] = []
        for word in _words(text):
            self._add(word.removeprefix("-"), is_turned=word.startswith("-"))

    def has_worker(self, row: FleetRow) -> bool:
        """Tell whether a worker is found."""
        if not all(test(row) for test in self._rows):
            return False
        is_wanted = not self._cards or any(self._is_wanted(gpu, row) for gpu in row.gpus)
        return is_wanted and not any(self._is_unwanted(gpu, row) for gpu in row.gpus)

    def has_card(self, row: FleetRow, gpu: GpuCell) -> bool:
        """Tell whether a card is found."""
        passes = all(test(row) for test in self._rows)
        return passes and self._is_wanted(gpu, row) and not self._is_unwanted(gpu, row)

    def _is_wanted(self, gpu: GpuCell, row: FleetRow) -> bool:
        return all(test(gpu, row) for test in self._cards)

    def _is_unwanted(self, gpu: GpuCell, row: FleetRow) -> bool:
        return any(test(gpu, row) for test in self._no_cards)

    def _add(self, word: str, *, is_turned: bool) -> None:
        of_card = _of_card(word)
        if of_card is not None:
            (self._no_cards if is_turned else self._cards).append(of_card)
            return
        of_row = _of_row(word)
        self._rows.append((lambda row: not of_row(row)) if is_turned else of_row)


def _words(text: str) -> list[str]:
    found = [word.replace('"', "") for word in _WORDS.findall(text.lower())]
    return [word for word in found if word not in ("", "-")]


def _of_card(word: str) -> OfCard | None:
    if word in _MARKS:
        return _MARKS[word]
    compared = _COMPARISON.fullmatch(word)
    if compared and compared[1] != "gpus":
        name, sign, digits, unit = compared.groups()
        value, holds, bound = _reading(name, unit or ""), _HOLDS[sign], float(digits)

        def measured(gpu: GpuCell, _row: FleetRow) -> bool:
            found = value(gpu)
            return found is not None and bool(holds(found, bound))

        return measured
    keyed = _KEYED.fullmatch(word)
    if keyed and keyed[1] == "user":
        wanted = keyed[2]
        return lambda gpu, _row: any(wanted in user.lower() for user in gpu.users)
    if keyed and keyed[1] == "gpu":
        wanted = keyed[2]
        return lambda gpu, _row: (
            wanted in (gpu.name or "").lower() or wanted in gpu.uuid.lower() or str(gpu.index) == wanted
        )
    return None


def _of_row(word: str) -> OfRow:
    compared = _COMPARISON.fullmatch(word)
    if compared:
        holds, bound = _HOLDS[compared[2]], float(compared[3])
        return lambda row: bool(holds(row.gpu_count, bound))
    keyed = _KEYED.fullmatch(word)
    if keyed is None:
        return lambda row: word in _haystack(row)
    key, wanted = keyed.groups()
    if key == "worker":
        return lambda row: wanted in row.id.lower() or wanted in (row.hostname or "").lower()
    if key == "state":
        return lambda row: wanted in STATES[row.state].lower() or wanted in row.state
    if key == "source":
        return lambda row: wanted in (row.source or "")
    name, sign, value = wanted.partition("=")
    return lambda row: any(
        label.lower() == name and (not sign or given.lower() == value) for label, given in row.labels.items()
    )


def _reading(name: str, unit: str) -> Callable[[GpuCell], float | None]:
    if name == "temp":
        return lambda gpu: gpu.temperature_c
    if name == "util":
        return lambda gpu: gpu.utilization_percent
    if name == "power":
        scale = 1000 if unit == "kw" else 1
        return lambda gpu: None if gpu.power_w is None else gpu.power_w / scale
    size = _BYTES.get(unit[:1])
    if size is None:
        return lambda gpu: share(gpu.memory_used_bytes, gpu.memory_total_bytes)
    return lambda gpu: None if gpu.memory_used_bytes is None else gpu.memory_used_bytes / size


def _haystack(row: FleetRow) -> str:
    labels = [f"{key}={value}" for key, value in row.labels.items()]
    cards = {gpu.name or "" for gpu in row.gpus}
    parts = [row.id, row.hostname or "", STATES[row.state], row.source or "", *labels, *row.users, *cards]
    return "\n".join(parts).lower()
