"""Usage of a large fleet: what adding up costs, what it takes in memory and on disk, and how quickly it answers."""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.history_fleet import MIDNIGHT
from bench.payloads import gpu_uuid
from bench.report import Figure, Result
from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading, Metrics, Process
from gpumon.settings import UsageSettings
from master.bus import EventBus
from master.events import ReadingsArrived
from master.prepare import prepare
from master.store.engine import Store
from master.store.models import UsageRow
from master.store.writer import Writer
from master.usage.amounts import to_kept
from master.usage.book import HOUR_S
from master.usage.names import NOBODY, Place, number_of, place
from master.usage.query import MODEL, USER, WORKER, By, Filter
from master.usage.store import DAY_S, UsageStore, make_day
from master.usage.usage import Usage

WORKERS = 1_000
GPUS = 8
INTERVAL_S = 5
MINUTES = 5
DAYS = 30
USERS = 60
# Users (and nobody) whom a worker has in an hour.
USERS_AN_HOUR = 4
ASKED = 5
_GIB = 2**30


def usage() -> Result:
    """Let some minutes of a fleet pass, then ask for thirty days of it."""
    return simulated(MINUTES, DAYS)


def simulated(minutes: int, days: int) -> Result:
    """Do so with this many minutes and days."""
    folder = Path(tempfile.mkdtemp(prefix="gpumon-usage-"))
    data = DataFolder(folder)
    prepare(data)
    store = Store(data)
    writer = Writer(store)
    now = [MIDNIGHT + days * DAY_S]
    bus = EventBus()
    kept = UsageStore(store, writer)
    labels = {f"worker-{worker:04d}": {"rack": str(worker // 20)} for worker in range(WORKERS)}
    measured = Usage(kept, bus, labels.__getitem__, UsageSettings(), lambda: now[0])
    store.start()
    writer.start()
    measured.start()
    try:
        _keep_days(store, kept, list(labels.items()), days)
        writer.flush(60.0)
        day_s = _make_days(store, days)
        memory_bytes = _memory(bus, now[0])
        cpu_s = _run(measured, bus, writer, now, minutes * 60 // INTERVAL_S)
        asked = {name: _ask(ask) for name, ask in _questions(measured, now[0], days).items()}
        disk_bytes = data.database.stat().st_size
    finally:
        measured.stop()
        writer.stop()
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return Result(
        name="usage",
        title=f"who used what on {WORKERS:,} workers x {GPUS} GPUs at {INTERVAL_S} s",
        about=(
            f"{minutes} simulated minutes, driven as fast as it goes: samples with up to two processes a card go over "
            "the bus into the usage, which is kept each simulated minute in a real SQLite. CPU is the process's, less "
            f"what making the samples costs. Before them lie {days} days with {USERS_AN_HOUR} of {USERS} users a "
            f"worker and hour. Questions are asked {ASKED} times (median); 5 h from UTC are days of such a time "
            "zone, for which hours are added and taken away."
        ),
        command=f"{Path(sys.executable).name} -m bench usage",
        figures=[
            Figure("adding up and keeping, CPU", round(100 * cpu_s / (minutes * 60), 2), "% of a core", 5.0),
            Figure("CPU a card and sample", round(1e6 * cpu_s / (WORKERS * GPUS * minutes * 60 / INTERVAL_S), 1), "us"),
            Figure("memory", round(memory_bytes / 2**20, 1), "MiB"),
            Figure("database a worker and day", round(disk_bytes / (WORKERS * days) / 1024, 1), "KiB"),
            Figure("adding up a day", round(1000 * day_s), "ms"),
            *(Figure(f"{days} days, {name}", round(1000 * seconds), "ms") for name, seconds in asked.items()),
        ],
    )


def _memory(bus: EventBus, now: float) -> int:
    """Return the bytes that usage holds once two samples of every worker have come."""
    samples = [*_samples(now - INTERVAL_S, 0), *_samples(now, 1)]
    tracemalloc.start()
    for event in samples:
        bus.publish(event)
    memory_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return memory_bytes


def _run(measured: Usage, bus: EventBus, writer: Writer, now: list[float], rounds: int) -> float:
    """Let the fleet tell of itself so many times, and return the CPU seconds that they took."""
    cpu_s = 0.0
    for seq in range(2, 2 + rounds):
        now[0] += INTERVAL_S
        events = list(_samples(now[0], seq))
        began = time.process_time()
        for event in events:
            bus.publish(event)
        measured.tick(now[0])
        if now[0] % 60 == 0:
            writer.flush(60.0)
        cpu_s += time.process_time() - began
    return cpu_s


def _samples(at: float, seq: int) -> Iterator[ReadingsArrived]:
    for worker in range(WORKERS):
        gpus = [_card(worker, index, at, seq) for index in range(GPUS)]
        yield ReadingsArrived(
            f"worker-{worker:04d}",
            Metrics(time=at, seq=seq, interval_s=INTERVAL_S, source="simulated", gpus=gpus),
            at + 0.01,
        )


def _card(worker: int, index: int, at: float, seq: int) -> GpuReading:
    card = worker * GPUS + index
    users = [f"user-{(card * 7 + number) % USERS}" for number in range(card % 3)]
    return GpuReading(
        uuid=gpu_uuid(worker, index),
        index=index,
        name="NVIDIA H200",
        utilization_percent=(card * 13 + seq) % 101 if users else 0,
        memory_total_bytes=141 * _GIB,
        power_w=400.0,
        power_limit_w=700.0,
        energy_j=1e9 + 400.0 * (at - MIDNIGHT),
        processes=[
            Process(pid=number, user=user, memory_bytes=(20 + number) * _GIB, sm_percent=40)
            for number, user in enumerate(users)
        ],
    )


def _keep_days(store: Store, kept: UsageStore, workers: list[tuple[str, dict[str, str]]], days: int) -> None:
    """Store days of hours, many rows at a time."""
    chance = random.Random(1)
    places = [place(name, "NVIDIA H200", labels) for name, labels in workers]
    names = [f"user-{number}" for number in range(USERS)]
    hour = [3600.0, 1800.0, 900.0, 3600.0, 3600.0, 3.7e8, 1.4e6]
    last = int(MIDNIGHT) + days * DAY_S - HOUR_S
    kept.keep([(last, at, names[number % USERS], hour) for number, at in enumerate(places)])
    kept.keep([(last, places[0], NOBODY, hour)])
    numbers = [number_of(name) for name in names]
    amounts = tuple(to_kept(hour).values())
    statement = f"INSERT INTO {UsageRow.__tablename__} VALUES ({', '.join('?' * (4 + len(amounts)))})"
    for start in range(int(MIDNIGHT), last, HOUR_S):
        rows = [
            (HOUR_S, start, user, at.number, *amounts)
            for at in places
            for user in _users_of_an_hour(at, numbers, chance)
        ]
        with store.write() as connection:
            connection.exec_driver_sql(statement, rows)


def _users_of_an_hour(at: Place, numbers: list[int], chance: random.Random) -> list[int]:
    """Return the users of a worker in an hour: some of the few that work on it, and nobody."""
    first = at.number % USERS
    usual = [numbers[(first + step) % USERS] for step in range(2 * USERS_AN_HOUR)]
    return [*chance.sample(usual, USERS_AN_HOUR - 1), number_of(NOBODY)]


def _make_days(store: Store, days: int) -> float:
    """Add up each day and return the median of what one takes."""
    taken = []
    for number in range(days):
        began = time.perf_counter()
        with store.write() as connection:
            make_day(connection, int(MIDNIGHT) + number * DAY_S)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _questions(measured: Usage, now: float, days: int) -> dict[str, Callable[[], object]]:
    start = MIDNIGHT
    daily = [(start + number * DAY_S, start + (number + 1) * DAY_S) for number in range(days)]
    shifted = [(begin + 5 * HOUR_S, end + 5 * HOUR_S) for begin, end in daily]
    every = Filter()

    def totals(by: By, only: Filter = every) -> Callable[[], object]:
        return lambda: measured.ask(start, now, by, only)

    def series(by: By, ranges: list[tuple[float, float]]) -> Callable[[], object]:
        return lambda: list(measured.ask_each(ranges, by, every))

    return {
        "by user": totals(By(USER)),
        "by worker": totals(By(WORKER)),
        "by model": totals(By(MODEL)),
        "by label": totals(By("label", "rack")),
        "by user, of one label": totals(By(USER), Filter(labels={"rack": "3"})),
        "each day by user": series(By(USER), daily),
        "each day by user, 5 h from UTC": series(By(USER), shifted),
        "each day by worker, 5 h from UTC": series(By(WORKER), shifted),
    }


def _ask(ask: Callable[[], object]) -> float:
    taken = []
    for _ in range(ASKED):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
