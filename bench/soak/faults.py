"""What goes wrong, each for a while, in an order that a seed decides."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from bench import packets
from bench.soak.installation import GROUP, Installation
from bench.soak.silent_browser import silent_browser

SHORTEST_S, LONGEST_S = 2.0, 15.0
PAUSE_S = 12.0
FLOODER = "flooder"
_FLOOD_PAYLOAD = b'{"v":1,"time":0,"seq":0}'

Fault = Callable[[Installation, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault with its moment, in seconds since the beginning, and how long it lasts."""

    at_s: float
    lasts_s: float
    name: str
    seed: int


def plan(seed: int, seconds: float) -> list[Planned]:
    """Return what goes wrong and when: every fault in turn, in another order each time, some of them overlapping."""
    chance = random.Random(seed)
    planned: list[Planned] = []
    at = PAUSE_S
    bag: list[str] = []
    while True:
        if not bag:
            bag = sorted(FAULTS)
            chance.shuffle(bag)
        lasts = chance.uniform(SHORTEST_S, LONGEST_S)
        if at + lasts > seconds:
            return planned
        planned.append(Planned(at, lasts, bag.pop(), chance.randrange(2**32)))
        at += chance.uniform(0.5, 1.0) * PAUSE_S


def suffer(installation: Installation, planned: list[Planned], say: Callable[[str], None]) -> dict[str, int]:
    """Let it all happen; return how often each fault did."""
    happened: dict[str, int] = {}
    began = time.monotonic()
    threads = []
    for each in planned:
        time.sleep(max(0.0, began + each.at_s - time.monotonic()))
        say(f"{each.at_s:5.0f} s: {each.name} for {each.lasts_s:.0f} s")
        thread = threading.Thread(target=_happen, args=(installation, each, say))
        thread.start()
        threads.append(thread)
        happened[each.name] = happened.get(each.name, 0) + 1
    for thread in threads:
        thread.join()
    return happened


def _happen(installation: Installation, each: Planned, say: Callable[[str], None]) -> None:
    try:
        with FAULTS[each.name](installation, random.Random(each.seed)):
            time.sleep(each.lasts_s)
    except OSError as error:  # what it needs is down because of another fault
        say(f"        {each.name} could not be done: {error}")


@contextmanager
def _killed_broker(installation: Installation, _chance: random.Random) -> Iterator[None]:
    _kill(installation, "broker")
    yield


@contextmanager
def _killed_master(installation: Installation, _chance: random.Random) -> Iterator[None]:
    _kill(installation, "master and page")
    yield


@contextmanager
def _killed_workers(installation: Installation, chance: random.Random) -> Iterator[None]:
    first = chance.randrange(0, installation.workers, GROUP)
    installation.kill_group(first)
    try:
        yield
    finally:
        installation.start_group(first)


@contextmanager
def _cut_links(installation: Installation, _chance: random.Random) -> Iterator[None]:
    installation.link.cut()
    try:
        yield
    finally:
        installation.link.mend()


@contextmanager
def _slow_links(installation: Installation, chance: random.Random) -> Iterator[None]:
    installation.link.slow(chance.uniform(0.1, 0.8))
    try:
        yield
    finally:
        installation.link.mend()


@contextmanager
def _browser_that_does_not_read(installation: Installation, _chance: random.Random) -> Iterator[None]:
    with silent_browser(installation.page_port, installation.page, installation.password):
        yield


@contextmanager
def _flooding_worker(installation: Installation, _chance: random.Random) -> Iterator[None]:
    token = json.loads(installation.accounts_file.read_text())[FLOODER]
    stop = threading.Event()
    thread = threading.Thread(target=_flood, args=(installation.mqtt_port, token, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _full_disk(installation: Installation, _chance: random.Random) -> Iterator[None]:
    filler = installation.disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1024 * 1024))
            file.flush()
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _jumping_clock(installation: Installation, chance: random.Random) -> Iterator[None]:
    first = chance.randrange(0, installation.workers, GROUP)
    installation.shift_clock(first, chance.choice((-86_400, -3600, -30, 30, 3600, 86_400)))
    try:
        yield
    finally:
        installation.shift_clock(first, 0)


FAULTS: dict[str, Fault] = {
    "the broker is killed": _killed_broker,
    "the master is killed": _killed_master,
    "workers are killed": _killed_workers,
    "links are cut": _cut_links,
    "links are slow": _slow_links,
    "a browser stops reading": _browser_that_does_not_read,
    "a worker floods": _flooding_worker,
    "the disk is full": _full_disk,
    "workers' clocks jump": _jumping_clock,
}


def _kill(installation: Installation, name: str) -> None:
    pid = installation.pids().get(name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _flood(port: int, token: str, stop: threading.Event) -> None:
    """Publish as fast as the broker reads, connecting again where it hangs up."""
    while not stop.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            _publish_all_the_time(connection, token, stop)
        stop.wait(0.5)


def _publish_all_the_time(connection: socket.socket, token: str, stop: threading.Event) -> None:
    batch = packets.publish(f"gpumon/{FLOODER}/metrics", _FLOOD_PAYLOAD, retain=False) * 100
    will = (f"gpumon/{FLOODER}/status", "offline")
    connection.sendall(packets.connect("flooder-by-chance", (FLOODER, token), will, 60))
    connection.settimeout(1.0)
    rest = batch
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            rest = rest[connection.send(rest) :] or batch
