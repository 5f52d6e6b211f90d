"""Blocks: a card's buckets of one resolution, packed into the bytes that are a row of the database."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from gpumon.log import OncePer
from master.history.columns import DamagedColumnsError, pack, unpack
from master.history.readings import GAP, readings_of
from master.history.resolutions import Resolution
from master.history.summary import COUNT_COLUMN, Summary, column_ids, combined, nothing

logger = logging.getLogger(__name__)

Buckets = dict[int, Summary]


class Damages:
    """Tells of blocks that cannot be read, once a minute; they are passed over as gaps."""

    def __init__(self) -> None:
        self._due = OncePer(60.0)

    def __call__(self, worker_id: str, key: str, start: int, error: DamagedColumnsError) -> None:
        """Tell of one."""
        if self._due("block"):
            logger.error("history of %s %s from %d on cannot be read: %s", worker_id, key or "host", start, error)


def rolled_up(minutes: Mapping[int, Summary], step_s: int) -> Buckets:
    """Return the minutes' buckets of `step_s` by their start."""
    members: dict[int, list[Summary]] = {}
    for start, summary in minutes.items():
        members.setdefault(start // step_s * step_s, []).append(summary)
    return {start: combined(summaries) for start, summaries in members.items()}


def new_block(key: str, resolution: Resolution, start: int, buckets: Buckets, before: bytes | None) -> bytes:
    """Return the block that begins at `start` with these buckets, in place of those in the block `before`.

    Raises DamagedColumnsError: when `before` cannot be read.
    """
    ids = column_ids(readings_of(key))
    width = len(readings_of(key))
    rows: list[Summary] = [nothing(width)] * resolution.buckets
    if before is not None:
        length, columns = unpack(before)
        empty = {number: [0 if number == COUNT_COLUMN else GAP] * length for number in ids}
        rows[:length] = zip(*({**empty, **columns}[number] for number in ids), strict=True)
    for bucket, summary in buckets.items():
        rows[(bucket - start) // resolution.step_s] = summary
    columns_of_rows: Sequence[tuple[int, ...]] = list(zip(*rows, strict=True))
    return pack(dict(zip(ids, columns_of_rows, strict=True)))
