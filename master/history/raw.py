"""Every sample of the last while, in memory, within a budget for the whole fleet.

A card's newest samples lie open in an array; each 64 of them are packed. When the budget is used up, the window gets
shorter for all cards alike.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence

from master.history.columns import pack, unpack
from master.history.readings import GAP, Row, readings_of

_CHUNK_ROWS = 64
_TIME_COLUMN = 255
_PER_S = 1000  # time is kept in milliseconds
_LONGEST_CHUNK_S = 86_400.0
# What Python needs around a card and a chunk, as sys.getsizeof counts it.
_CARD_BYTES = 600
_CHUNK_BYTES = 170
# Growing the window again is slow, so that it does not swing.
_ROOM = 0.9
_GROWTH = 1.02


class RawCard:
    """The samples of one card (or host): times, and rows of `width` quanta."""

    __slots__ = ("_chunk_rows", "_chunks", "_packed_bytes", "_rows", "_times", "_width", "interval_s")

    def __init__(self, width: int, stagger: int) -> None:
        self.interval_s = 0.0
        self._width = width
        self._times = array("d")
        self._rows = array("i")
        self._chunks: list[tuple[float, float, bytes]] = []
        self._packed_bytes = 0
        # The first chunk is shorter by chance, so that the cards of a fleet are not all packed at the same moment.
        self._chunk_rows = 1 + stagger % _CHUNK_ROWS

    def add(self, at: float, row: Row) -> None:
        """Take in a sample."""
        self._times.append(at)
        self._rows.extend(row)
        if len(self._times) >= self._chunk_rows:
            self._pack()

    def copy(self) -> RawCard:
        """Return the samples as they are now, to read them without holding anybody up."""
        other = RawCard(self._width, 0)
        other.interval_s, other._times, other._rows = self.interval_s, self._times[:], self._rows[:]
        other._chunks = self._chunks[:]
        return other

    @property
    def first(self) -> float | None:
        """When the oldest sample was, None where there is none."""
        if self._chunks:
            return self._chunks[0][0]
        return min(self._times, default=None)

    @property
    def used_bytes(self) -> int:
        """What it takes in memory."""
        open_bytes = len(self._times) * (self._times.itemsize + self._width * self._rows.itemsize)
        return _CARD_BYTES + self._packed_bytes + open_bytes

    def drop_outside(self, start: float, end: float) -> None:
        """Let go of what is older than `start`, and of chunks after `end` (the master's clock was set back)."""
        chunks = self._chunks
        if chunks and (chunks[0][1] < start or chunks[-1][0] > end):
            self._chunks = [chunk for chunk in chunks if chunk[1] >= start and chunk[0] <= end]
            self._packed_bytes = sum(_CHUNK_BYTES + len(data) for _, _, data in self._chunks)
        if self._times and not self._chunks and self._times[0] < start:
            old = sum(1 for at in self._times if at < start)
            del self._times[:old]
            del self._rows[: old * self._width]

    def samples(self, start: float, end: float, places: Sequence[int]) -> tuple[list[float], list[list[int]]]:
        """Return the times of samples within [start, end), and the readings at these places of the row, in order."""
        times: list[float] = []
        columns: list[list[int]] = [[] for _ in places]
        for first, last, data in self._chunks:
            if first < end and last >= start:
                self._read_chunk(first, data, places, times, columns)
        times.extend(self._times)
        for column, place in zip(columns, places, strict=True):
            column.extend(self._rows[place :: self._width])
        order = sorted((at, number) for number, at in enumerate(times) if start <= at < end)
        return [at for at, _ in order], [[column[number] for _, number in order] for column in columns]

    def _read_chunk(
        self, first: float, data: bytes, places: Sequence[int], times: list[float], columns: list[list[int]]
    ) -> None:
        length, found = unpack(data, {_TIME_COLUMN, *places})
        times.extend(first + after / _PER_S for after in found[_TIME_COLUMN])
        for column, place in zip(columns, places, strict=True):
            column.extend(found.get(place) or [GAP] * length)

    def _pack(self) -> None:
        first, last = min(self._times), max(self._times)
        if last - first <= _LONGEST_CHUNK_S:
            columns: dict[int, Sequence[int]] = {
                _TIME_COLUMN: [round((at - first) * _PER_S) for at in self._times],
                **{place: self._rows[place :: self._width] for place in range(self._width)},
            }
            data = pack(columns)
            self._chunks.append((first, last, data))
            self._packed_bytes += _CHUNK_BYTES + len(data)
        self._chunk_rows = _CHUNK_ROWS
        del self._times[:]
        del self._rows[:]


class RawMemory:
    """All cards' samples of the last `window_s` seconds."""

    def __init__(self, budget_bytes: int, longest_s: float) -> None:
        self.window_s = longest_s if budget_bytes else 0.0
        self._budget_bytes = budget_bytes
        self._longest_s = longest_s
        self._cards: dict[tuple[str, str], RawCard] = {}

    @property
    def used_bytes(self) -> int:
        """What all samples take in memory."""
        return sum(card.used_bytes for card in self._cards.values())

    def card(self, worker_id: str, key: str) -> RawCard | None:
        """Return a card's samples, None where there are none."""
        return self._cards.get((worker_id, key))

    def add(self, worker_id: str, key: str, at: float, row: Row, interval_s: float) -> None:
        """Take in a sample."""
        card = self._cards.get((worker_id, key))
        if card is None:
            if not self._budget_bytes:
                return
            card = RawCard(len(readings_of(key)), zlib.crc32(f"{worker_id} {key}".encode()))
            self._cards[worker_id, key] = card
        card.interval_s = interval_s
        card.add(at, row)

    def trim(self, now: float) -> None:
        """Keep to the window and the budget; called every few seconds."""
        self._drop(now)
        used = self.used_bytes
        if used > self._budget_bytes:
            oldest = min((card.first or now for card in self._cards.values()), default=now)
            self.window_s = max(min(self.window_s, now - oldest) * self._budget_bytes / used * _ROOM, 0.0)
            self._drop(now)
        elif used < _ROOM * self._budget_bytes:
            self.window_s = min(self.window_s * _GROWTH + 1.0, self._longest_s)

    def forget(self, worker_id: str) -> None:
        """Let go of a worker."""
        for key in [key for key in self._cards if key[0] == worker_id]:
            del self._cards[key]

    def _drop(self, now: float) -> None:
        for key, card in list(self._cards.items()):
            card.drop_outside(now - self.window_s, now + self._longest_s)
            if card.first is None:
                del self._cards[key]
