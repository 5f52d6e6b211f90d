"""What questions about history take in a database of a large fleet's size, without a day in which to fill it."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import insert

from bench.history import GPUS, MONTH_DAYS, POINTS, WORKERS, SimulatedMaster, asked_s, keep_a_month
from bench.history_fleet import MIDNIGHT
from bench.payloads import gpu_uuid
from bench.report import Figure, Result
from master.history.resolutions import FOLDED_S, RESOLUTIONS
from master.store.models import HistoryBlockRow, table_of

ASKED = 25
# What a card's hour of minutes takes in `python -m bench history`, whose readings all change all the time.
BLOCK_BYTES = 4_500
_DAY_S = 86_400
_HOUR_S = 3_600


def history_questions() -> Result:
    """Fill a database with as many and as large blocks as a day leaves, keep a month of one more worker, and ask."""
    folder = Path(tempfile.mkdtemp(prefix="gpumon-questions-"))
    master = SimulatedMaster(folder, float(MIDNIGHT) + _DAY_S)
    master.start()
    try:
        for rows in _blocks():
            with master.store.write() as connection:
                connection.execute(insert(table_of(HistoryBlockRow)), rows)
        keep_a_month(master)
        disk_bytes = master.disk_bytes()
        day_of_one, day_plotted, day = (_median_ms(master, _DAY_S, readings) for readings in (1, 4, 8))
        month_plotted, month = (_median_ms(master, MONTH_DAYS * _DAY_S, readings) for readings in (4, 8))
    finally:
        master.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return Result(
        name="history-questions",
        title="questions about history among 1,000 workers x 8 GPUs",
        about=(
            f"A database with a day's blocks of {WORKERS:,} workers x {GPUS} GPUs, {BLOCK_BYTES:,} bytes of noise "
            f"each, and {MONTH_DAYS} days of one more worker, folded as always. Questions are about its {GPUS} GPUs, "
            f"{POINTS} points each, one after the other, with mean, lowest and highest, up to the encoded JSON: the "
            f"median of {ASKED}."
        ),
        command=f"{Path(sys.executable).name} -m bench history-questions",
        figures=[
            Figure("database in all", round(disk_bytes / 1e6), "MB"),
            Figure("24 h of 8 GPUs, one reading", day_of_one, "ms", 50.0),
            Figure("24 h of 8 GPUs, the four that the page plots", day_plotted, "ms", 50.0),
            Figure("24 h of 8 GPUs, all eight readings", day, "ms", 50.0),
            Figure("30 days of 8 GPUs, the four that the page plots", month_plotted, "ms", 150.0),
            Figure("30 days of 8 GPUs, all eight readings", month, "ms", 150.0),
        ],
    )


def _blocks() -> Iterator[list[dict[str, object]]]:
    """Yield the rows of a day, an hour's at a time."""
    noise = os.urandom(1 << 20)
    step_s = RESOLUTIONS[0].step_s
    for hour in range(_DAY_S // FOLDED_S):
        yield [
            {
                "worker_id": f"worker-{worker:04d}",
                "uuid": gpu_uuid(worker, card),
                "step_s": step_s,
                "start": int(MIDNIGHT) + hour * _HOUR_S,
                "data": noise[(worker * 7 + hour) % 90_000 :][:BLOCK_BYTES],
            }
            for worker in range(WORKERS)
            for card in range(GPUS)
        ]


def _median_ms(master: SimulatedMaster, span_s: float, readings: int) -> float:
    return round(1000 * statistics.median(asked_s(master, "month", 0, span_s, readings) for _ in range(ASKED)), 1)
