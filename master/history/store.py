"""What is kept of history: the minutes of the last hours a row a worker, and older ones folded into blocks.

A minute is written once it is over, as one row with all cards of its worker. Hour by hour, those rows become blocks of
each card and resolution, in the transaction that deletes the rows: whenever the master dies, a minute is in one of the
two, whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select

from master.history.blocks import Buckets, Damages, new_block, rolled_up
from master.history.columns import DamagedColumnsError
from master.history.readings import readings_of
from master.history.resolutions import FOLDED_S, RESOLUTIONS, Resolution
from master.history.rollup import Cards
from master.history.summary import fitted
from master.store.engine import Store, give_space_back, upsert
from master.store.models import HistoryBlockRow, HistoryMinuteRow, table_of
from master.store.writer import Writer

# Free pages are left for what is written next, up to this part of the file; the rest goes back to the disk.
_KEPT_FREE = 0.05
_FREED_PAGES = 2_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[int]]).decode
_decode_cards = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_decode_card = msgspec.msgpack.Decoder(list[int]).decode


# Made once: a question takes hardly longer than making these would.
_MINUTES = select(HistoryMinuteRow.start, HistoryMinuteRow.cards).where(
    HistoryMinuteRow.worker_id == bindparam("worker_id"),
    HistoryMinuteRow.start >= bindparam("start"),
    HistoryMinuteRow.start < bindparam("end"),
)
_BLOCKS = select(HistoryBlockRow.start, HistoryBlockRow.data).where(
    HistoryBlockRow.worker_id == bindparam("worker_id"),
    HistoryBlockRow.uuid == bindparam("key"),
    HistoryBlockRow.step_s == bindparam("step_s"),
    HistoryBlockRow.start >= bindparam("start"),
    HistoryBlockRow.start < bindparam("end"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a card over some time: minutes by their start, and blocks with theirs."""

    minutes: Buckets
    blocks: list[tuple[int, bytes]]


class HistoryStore:
    """Keeps minutes and folds them through the writer; reads both."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._damages = Damages()

    @property
    def problem(self) -> str | None:
        """Why nothing can be written, None while it can."""
        return self._writer.problem

    def keep_minute(self, worker_id: str, start: int, cards: Cards) -> int:
        """Keep a worker's minute, in place of what was kept of it; return the writer's number for it."""
        return self._writer.put(HistoryMinuteRow, {"worker_id": worker_id, "start": start, "cards": _encode(cards)})

    def minutes_since(self, start: int) -> list[tuple[str, int, Cards]]:
        """Return all workers' minutes from then on. Raises StoreError."""
        query = select(HistoryMinuteRow.__table__).where(HistoryMinuteRow.start >= start)
        with self._store.read() as connection:
            return [(row.worker_id, row.start, dict(_decode(row.cards))) for row in connection.execute(query)]

    def read(self, worker_id: str, key: str, resolution: Resolution, start: int, end: int) -> Kept:
        """Return what is stored of a card within [start, end). Raises StoreError."""
        minutes = {"worker_id": worker_id, "start": start, "end": end}
        blocks = {**minutes, "key": key, "step_s": resolution.step_s, "start": start - resolution.block_s + 1}
        width = len(readings_of(key))
        with self._store.read() as connection:
            # In this order, so that an hour that is folded meanwhile is found twice rather than not at all.
            kept = [(row.start, _decode_cards(row.cards).get(key)) for row in connection.execute(_MINUTES, minutes)]
            packed = [(row.start, row.data) for row in connection.execute(_BLOCKS, blocks)]
        return Kept({at: fitted(_decode_card(card), width) for at, card in kept if card is not None}, packed)

    def cards(self, worker_id: str) -> set[str]:
        """Return the keys of the worker's cards (and host) with stored history. Raises StoreError."""
        minutes = select(HistoryMinuteRow.cards).where(HistoryMinuteRow.worker_id == worker_id)
        blocks = select(HistoryBlockRow.uuid).where(HistoryBlockRow.worker_id == worker_id).distinct()
        with self._store.read() as connection:
            found = {key for row in connection.execute(minutes) for key in _decode_cards(row.cards)}
            return found | set(connection.execute(blocks).scalars())

    def fold(self, connection: Connection, before: int) -> bool:
        """Fold one worker's oldest hour of minutes, if it was over `before`; False where there is none."""
        oldest = connection.execute(
            select(HistoryMinuteRow.worker_id, HistoryMinuteRow.start)
            .where(HistoryMinuteRow.start < before)
            .order_by(HistoryMinuteRow.start)
            .limit(1)
        ).first()
        if oldest is None:
            return False
        worker_id, hour = oldest.worker_id, oldest.start // FOLDED_S * FOLDED_S
        these = (
            HistoryMinuteRow.worker_id == worker_id,
            HistoryMinuteRow.start >= hour,
            HistoryMinuteRow.start < hour + FOLDED_S,
        )
        cards: dict[str, Buckets] = {}
        for row in connection.execute(select(HistoryMinuteRow.start, HistoryMinuteRow.cards).where(*these)):
            for key, summary in _decode(row.cards).items():
                cards.setdefault(key, {})[row.start] = fitted(summary, len(readings_of(key)))
        rows = [
            row for resolution in RESOLUTIONS for row in self._blocks(connection, worker_id, hour, cards, resolution)
        ]
        if rows:
            connection.execute(upsert(connection.dialect.name, table_of(HistoryBlockRow)), rows)
        connection.execute(delete(HistoryMinuteRow).where(*these))
        return True

    def _blocks(
        self, connection: Connection, worker_id: str, hour: int, cards: dict[str, Buckets], resolution: Resolution
    ) -> Iterable[dict[str, Any]]:
        start = resolution.block_of(hour)
        query = select(HistoryBlockRow.uuid, HistoryBlockRow.data).where(
            HistoryBlockRow.worker_id == worker_id,
            HistoryBlockRow.uuid.in_(cards),
            HistoryBlockRow.step_s == resolution.step_s,
            HistoryBlockRow.start == start,
        )
        before = {row.uuid: row.data for row in connection.execute(query)}
        for key, minutes in cards.items():
            buckets = rolled_up(minutes, resolution.step_s)
            try:
                data = new_block(key, resolution, start, buckets, before.get(key))
            except DamagedColumnsError as error:
                self._damages(worker_id, key, start, error)
                data = new_block(key, resolution, start, buckets, None)
            yield {"worker_id": worker_id, "uuid": key, "step_s": resolution.step_s, "start": start, "data": data}

    def prune(self, horizons: Sequence[tuple[Resolution, float]]) -> None:
        """Delete each resolution's blocks that ended before its horizon, and give their space back to the disk."""

        def job(connection: Connection) -> bool:
            for resolution, horizon in horizons:
                step_s, last = resolution.step_s, horizon - resolution.block_s
                oldest = connection.execute(
                    select(func.min(HistoryBlockRow.start)).where(HistoryBlockRow.step_s == step_s)
                ).scalar()
                if oldest is not None and oldest <= last:
                    these = (HistoryBlockRow.step_s == step_s, HistoryBlockRow.start == oldest)
                    connection.execute(delete(HistoryBlockRow).where(*these))
                    return True
            return give_surplus_back(connection)

        self._writer.run(job)

    def forget(self, worker_id: str) -> None:
        """Delete a worker's history, and give its space back."""

        def job(connection: Connection) -> bool:
            connection.execute(delete(HistoryMinuteRow).where(HistoryMinuteRow.worker_id == worker_id))
            connection.execute(delete(HistoryBlockRow).where(HistoryBlockRow.worker_id == worker_id))
            return False

        self._writer.run(job)
        self._writer.run(give_surplus_back)


def give_surplus_back(connection: Connection) -> bool:
    """Give a bounded part of the file's free pages back, those kept for what comes next excepted; True if more are."""
    if connection.dialect.name != "sqlite":
        return False
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
    surplus = free - int(_KEPT_FREE * pages)
    if surplus <= 0:
        return False
    give_space_back(connection, min(surplus, _FREED_PAGES))
    return surplus > _FREED_PAGES
