"""Killing a master while it writes history, and looking at what it has left.

`python -m bench.history_kills FOLDER MINUTE` writes simulated minutes from that one on, as fast as it goes, and says of
each when it is over and when it is stored.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading, Metrics
from gpumon.settings import HistorySettings
from master.bus import EventBus
from master.events import ReadingsArrived
from master.history.history import History
from master.history.query import Question
from master.history.readings import GPU_READINGS
from master.prepare import prepare
from master.store.engine import Store
from master.store.writer import Writer

WORKERS = 5
CARDS = 4
_FIRST_MINUTE = 29_924_640  # since 1970, the start of a day
_LONGEST_S = 1.5


@dataclass(slots=True)
class Killed:
    """What so many kills have done."""

    kills: int = 0
    damaged: int = 0
    stored: int = 0
    stored_lost: int = 0
    most_lost: int = 0
    problems: list[str] = field(default_factory=list)


def power_w(worker: int, card: int, minute: int) -> float:
    """Return what a card draws in a minute, so that what was stored can be told to be right."""
    return float(100 + (minute * 7 + worker * 13 + card * 29) % 500)


def kill_while_writing(kills: int, chance: random.Random) -> Killed:
    """Kill a writing master at random moments, each time on the same data, and check it after each."""
    folder = Path(tempfile.mkdtemp(prefix="gpumon-kills-"))
    result = Killed()
    minute = _FIRST_MINUTE
    over: set[int] = set()
    try:
        for _ in range(kills):
            told = _killed(folder, minute, chance.uniform(0.0, _LONGEST_S))
            over |= told["over"]
            result.kills += 1
            _check(folder, told, result)
            minute = max(over, default=minute) + 2  # the running one is lost, and a part of a minute is no whole one
            result.stored += len(told["stored"])
        lost = over - _kept(folder, over)
        result.most_lost = max(result.most_lost, _most_in_a_row(lost))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _killed(folder: Path, minute: int, after_s: float) -> dict[str, set[int]]:
    command = [sys.executable, "-m", "bench.history_kills", str(folder), str(minute)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout]
    told: dict[str, set[int]] = {"over": set(), "stored": set()}
    for line in lines:
        what, _, number = line.strip().partition(" ")
        if line.endswith("\n"):
            told[what].add(int(number))
    return told


def _check(folder: Path, told: dict[str, set[int]], result: Killed) -> None:
    with contextlib.closing(sqlite3.connect(DataFolder(folder).database)) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if said != "ok":
        result.damaged += 1
        result.problems.append(said)
    result.stored_lost += len(told["stored"] - _kept(folder, told["stored"]))


def _kept(folder: Path, minutes: set[int]) -> set[int]:
    """Return those minutes of which every card's value is stored, and right."""
    if not minutes:
        return set()
    first, last = min(minutes), max(minutes)
    store = Store(DataFolder(folder))
    store.start()
    history = History(
        store, Writer(store), EventBus(), HistorySettings(minute_hours=744), clock=lambda: 60.0 * last + 60
    )
    right = set(minutes)
    try:
        for worker in range(WORKERS):
            for card in range(CARDS):
                question = Question(
                    f"w{worker}", f"GPU-{card}", (GPU_READINGS[3],), 60.0 * first, 60.0 * last + 60, last - first + 1
                )
                answer = history.ask(question)
                found = dict(zip((int(at) // 60 for at in answer.time), answer.series["power_w"].mean, strict=True))
                right = {minute for minute in right if found.get(minute) == power_w(worker, card, minute)}
    finally:
        store.stop()
    return right


def _most_in_a_row(minutes: set[int]) -> int:
    longest = 0
    for minute in minutes:
        if minute - 1 not in minutes:
            end = minute
            while end in minutes:
                end += 1
            longest = max(longest, end - minute)
    return longest


def write_on(folder: Path, minute: int) -> None:
    """Write minutes until somebody ends the process."""
    data = DataFolder(folder)
    prepare(data)
    store, bus = Store(data), EventBus()
    writer = Writer(store)
    now = 60.0 * minute
    history = History(store, writer, bus, HistorySettings(), clock=lambda: now)
    store.start()
    writer.start()
    history.start()
    seq = 0
    while True:
        for part in range(3):
            now = 60.0 * minute + 20 * part
            for worker in range(WORKERS):
                seq += 1
                gpus = [GpuReading(uuid=f"GPU-{card}", power_w=power_w(worker, card, minute)) for card in range(CARDS)]
                metrics = Metrics(time=now, seq=seq, interval_s=20.0, source="simulated", gpus=gpus)
                bus.publish(ReadingsArrived(f"w{worker}", metrics, now))
            history.tick(now)
        now = 60.0 * minute + 60
        print(f"over {minute}", flush=True)
        history.tick(now)
        if writer.flush():
            print(f"stored {minute}", flush=True)
        minute += 1


if __name__ == "__main__":
    write_on(Path(sys.argv[1]), int(sys.argv[2]))
