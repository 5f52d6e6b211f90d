"""History of a large fleet: what rolling up costs, what it takes on disk, how quickly it answers, and kills."""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from bench.errors import BenchmarkError
from bench.history_fleet import MIDNIGHT, PretendedFleet
from bench.history_kills import kill_while_writing
from bench.payloads import gpu_uuid
from bench.report import Figure, Result
from gpumon.datafolder import DataFolder
from gpumon.settings import HistorySettings
from master.bus import EventBus
from master.history.history import History
from master.history.query import Question
from master.history.readings import GPU_QUANTISER, GPU_READINGS
from master.history.resolutions import FOLDED_S
from master.history.rollup import MINUTE_S
from master.history.store import HistoryStore
from master.history.summary import summary_of_rows
from master.prepare import prepare
from master.store.engine import Store
from master.store.writer import Writer

WORKERS = 1_000
GPUS = 8
INTERVAL_S = 5
HOURS = 24
KILLS = 50
POINTS = 500
MONTH_DAYS = 30
ASKED_WORKERS = 15
_DAY_S = 86_400


class SimulatedMaster:
    """The store, the writer and the history of a master, on a clock that the benchmark moves."""

    def __init__(self, folder: Path, now: float) -> None:
        data = DataFolder(folder)
        prepare(data)
        self.now = now
        self.database = data.database
        self.store = Store(data)
        self.writer = Writer(self.store)
        self.bus = EventBus()
        self.history = History(self.store, self.writer, self.bus, HistorySettings(), clock=lambda: self.now)

    def start(self) -> None:
        """Open everything."""
        self.store.start()
        self.writer.start()
        self.history.start()

    def stop(self) -> None:
        """Close everything."""
        self.history.stop()
        self.writer.stop()
        self.store.stop()

    def disk_bytes(self) -> int:
        """Return the size of the database, with all of its log brought in."""
        with self.store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.database.stat().st_size


def history() -> Result:
    """Simulate a day of a fleet, ask for a day and a month of cards, and kill a writing master again and again."""
    return simulated(WORKERS, HOURS, KILLS)


def simulated(workers: int, hours: float, kills: int) -> Result:
    """Do so with this many workers, hours and kills."""
    folder = Path(tempfile.mkdtemp(prefix="gpumon-history-"))
    master = SimulatedMaster(folder, MIDNIGHT)
    master.start()
    try:
        cpu_s = _run(master, workers, hours)
        disk_bytes = master.disk_bytes()
        raw_window_s, raw_bytes = master.history.raw_window_s, master.history.raw_bytes
        day = _ask(master, _DAY_S, workers)
        day_of_one = _ask(master, _DAY_S, workers, readings=1)
        day_plotted = _ask(master, _DAY_S, workers, readings=4)
        keep_a_month(master)
        month = _ask_month(master)
    finally:
        master.stop()
        shutil.rmtree(folder, ignore_errors=True)
    killed = kill_while_writing(kills, random.Random(1))
    simulated_s = hours * 3600
    return Result(
        name="history",
        title=f"a day of {workers:,} workers x {GPUS} GPUs at {INTERVAL_S} s",
        about=(
            f"A simulated {hours:g} h, driven as fast as it goes: samples with {len(GPU_READINGS)} readings a card, "
            "which all change each time (there is no fan), go over the bus into the history. Its clock ticks each "
            "simulated second, and it prunes each simulated hour, over a real SQLite. CPU is the process's, less what "
            "making the samples costs; the database is the file after a checkpoint. Questions are about all "
            f"{GPUS} GPUs of a worker, {POINTS} points each, one after the other, with mean, lowest and highest, up to "
            f"the encoded JSON: the median of {ASKED_WORKERS} workers. The month is that of one more worker. A master "
            f"that writes simulated minutes is killed (SIGKILL) {kills} times at random moments, and its database is "
            "checked each time."
        ),
        command=f"{Path(sys.executable).name} -m bench history",
        figures=[
            Figure("raw samples and roll-ups, CPU", round(100 * cpu_s / simulated_s, 2), "% of a core", 10.0),
            Figure("CPU a card and sample", round(1e6 * cpu_s / (workers * GPUS * simulated_s / INTERVAL_S), 2), "us"),
            Figure("database", round(disk_bytes / (workers * GPUS * hours * 60), 1), "bytes a GPU-minute", 100.0),
            Figure("database in all", round(disk_bytes / 1e6), "MB"),
            Figure("24 h of 8 GPUs, one reading", round(1000 * day_of_one, 1), "ms", 50.0),
            Figure("24 h of 8 GPUs, the four that the page plots", round(1000 * day_plotted, 1), "ms", 50.0),
            Figure("24 h of 8 GPUs, all eight readings", round(1000 * day, 1), "ms"),
            Figure("30 days of 8 GPUs, all eight readings", round(1000 * month, 1), "ms", 150.0),
            Figure("raw samples in memory", round(raw_bytes / 2**20, 1), "MiB", 64.0),
            Figure("window of the raw samples", round(raw_window_s / 60, 1), "min"),
            Figure("kills while writing", killed.kills, ""),
            Figure("databases damaged by a kill", killed.damaged, "", 0),
            Figure("stored minutes lost by a kill", killed.stored_lost, "", 0),
            Figure("minutes lost by a kill beside the running one, at most", killed.most_lost, ""),
            Figure("minutes stored in all before the kills", killed.stored, ""),
        ],
    )


def _run(master: SimulatedMaster, workers: int, hours: float) -> float:
    """Let the hours pass and return the CPU seconds that history took."""
    fleet = PretendedFleet(workers, GPUS, INTERVAL_S)
    began = time.process_time()
    for seq in range(int(hours * 3600 / INTERVAL_S)):
        for event in fleet.samples(master.now, seq):
            master.bus.publish(event)
        for _ in range(INTERVAL_S):
            master.now += 1.0
            master.history.tick(master.now)
        if master.now % 60 == 0:
            master.writer.flush(60.0)
        if master.now % 3600 == 0:
            master.history.prune(master.now)
            if sys.stderr.isatty():
                print(f"  {master.now - MIDNIGHT:.0f} s", file=sys.stderr, flush=True)
    master.writer.flush(60.0)
    return time.process_time() - began - fleet.made_s


def _ask(master: SimulatedMaster, span_s: float, workers: int, readings: int = len(GPU_READINGS)) -> float:
    """Return the median time in which a worker's cards are answered."""
    step = max(1, workers // ASKED_WORKERS)
    return statistics.median(
        asked_s(master, f"worker-{worker:04d}", worker, span_s, readings) for worker in range(0, workers, step)
    )


def _ask_month(master: SimulatedMaster) -> float:
    span_s = MONTH_DAYS * _DAY_S
    return statistics.median(asked_s(master, "month", 0, span_s, len(GPU_READINGS)) for _ in range(ASKED_WORKERS))


def asked_s(master: SimulatedMaster, name: str, worker: int, span_s: float, readings: int) -> float:
    """Return the time in which the question about all cards of a worker is answered."""
    began = time.perf_counter()
    for index in range(GPUS):
        card = gpu_uuid(worker, index)
        question = Question(name, card, GPU_READINGS[:readings], master.now - span_s, master.now, POINTS)
        answer = msgspec.json.encode(master.history.ask(question))
        if b'"mean":[null,null,null,null' in answer.partition(b"fan_percent")[0] and span_s > _DAY_S:
            raise BenchmarkError("the month that was stored is not answered")
    return time.perf_counter() - began


def keep_a_month(master: SimulatedMaster) -> None:
    """Store a month of one worker, a sample a minute, by the same folding as always but without its clock."""
    fleet = PretendedFleet(1, GPUS, 60.0)
    kept = HistoryStore(master.store, master.writer)
    first = int(master.now) - MONTH_DAYS * _DAY_S

    def fold(connection: Connection) -> bool:
        while kept.fold(connection, end):
            pass
        return False

    for day in range(first, int(master.now), _DAY_S):
        end = min(day + _DAY_S, int(master.now) // FOLDED_S * FOLDED_S)
        for start in range(day, day + _DAY_S, MINUTE_S):
            (event,) = fleet.samples(start, start // MINUTE_S)
            rows = ((gpu.uuid, GPU_QUANTISER.row(gpu)) for gpu in event.metrics.gpus)
            cards = {uuid: summary_of_rows(row, len(GPU_READINGS)) for uuid, row in rows if row is not None}
            kept.keep_minute("month", start, cards)
        master.writer.flush(60.0)
        master.writer.run(fold)
        master.writer.flush(60.0)
