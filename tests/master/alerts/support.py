"""An alert desk on a real database, fed by real messages through the real ingest, under a clock that tests move."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from gpumon.datafolder import DataFolder
from gpumon.link import InboundMessage, MqttLink
from gpumon.settings import AlertSettings
from gpumon.topics import Topics
from master.alerts.clock import Clocks
from master.alerts.desk import AlertDesk
from master.alerts.records import Alert
from master.audit import Actor, AuditTrail
from master.bus import EventBus
from master.command_intake import CommandIntake
from master.events import AlertChanged
from master.fleet import Fleet
from master.ingest import Ingest
from master.ledger import Ledger
from master.prepare import prepare
from master.store.command_store import CommandStore
from master.store.engine import Store
from master.store.fleet_store import FleetStore
from master.store.writer import Writer
from tests.master.support import gpu, info, sample

ANNA = Actor("anna", "page", "192.0.2.7")
GIB = 1024**3
# A day in 2026, in seconds since 1970; the steady clock begins anywhere.
BEGIN = 1_780_000_000.0
STEP_S = 5.0


def process(pid: int = 4242, **changes: Any) -> dict[str, Any]:
    """A process that holds memory on a card."""
    return {"pid": pid, "user": "research", "name": "python", "memory_bytes": 20 * GIB, "sm_percent": 0} | changes


class _Handlers:
    """Stands for the link: keeps who has subscribed, so that a test hands messages over itself."""

    def __init__(self) -> None:
        self.by_filter: dict[str, Callable[[InboundMessage], None]] = {}

    def subscribe(self, topic_filter: str, _qos: int, handler: Callable[[InboundMessage], None]) -> None:
        self.by_filter[topic_filter] = handler

    def on_connected(self, _callback: Callable[[], None]) -> None:
        pass


@functools.cache
def _template() -> Path:
    """A prepared data folder, made once: laying out a database takes longer than most tests."""
    folder = Path(tempfile.mkdtemp(prefix="gpumon-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    prepare(DataFolder(folder))
    return folder


def _prepared(folder: Path) -> DataFolder:
    if not folder.exists():
        shutil.copytree(_template(), folder)
    return DataFolder(folder)


class World:
    """A desk with all that it needs. `told` is every alert that the bus was told of."""

    def __init__(
        self, folder: Path | DataFolder, rules: dict[str, Any] | None = None, at: float = BEGIN, **settings: Any
    ) -> None:
        data = folder if isinstance(folder, DataFolder) else _prepared(folder)
        self.passed = 0.0
        self.wall_offset = at
        self.listening = True
        self.told: list[Alert] = []
        self.store = Store(data)
        self.store.start()
        self.writer = Writer(self.store)
        self.writer.start()
        self.bus = EventBus()
        self.fleet = Fleet(FleetStore(self.store, self.writer), self.bus, self.wall)
        self.fleet.load()
        self.desk = AlertDesk(
            self.store,
            self.writer,
            self.bus,
            self.fleet,
            Topics(),
            settings=AlertSettings(rules=rules or {}, **settings),
            is_listening=lambda: self.listening,
            clocks=Clocks(self.wall, lambda: self.passed),
        )
        self.desk.start()
        self.bus.subscribe(AlertChanged, lambda event: self.told.append(event.alert))
        audit = AuditTrail(self.store, self.writer)
        ledger = Ledger(CommandStore(self.store, self.writer), self.bus, self.wall, audit)
        intake = CommandIntake(ledger, self.fleet, self.bus, audit, trusts_senders=True)
        handlers = _Handlers()
        Ingest(self.fleet, intake, Topics(), self.wall).attach(cast(MqttLink, handlers))
        self._handlers = handlers.by_filter
        self._seq = 0

    def wall(self) -> float:
        """The wall clock."""
        return self.wall_offset + self.passed

    def stop(self) -> None:
        """Stop as a master does."""
        self.desk.stop()
        self.fleet.save()
        self.writer.stop()
        self.store.stop()

    def publish(self, topic: str, payload: Any, *, retained: bool = False) -> None:
        """Hand a worker's message over as the broker does."""
        worker_id, tail = topic.removeprefix("gpumon/").split("/", 1)
        data = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        self._handlers[f"gpumon/+/{tail}"](InboundMessage(f"gpumon/{worker_id}/{tail}", data, retained))

    def comes_online(self, worker_id: str = "w1", **changes: Any) -> None:
        """Let a worker say that it is there, and what it has."""
        self.publish(f"gpumon/{worker_id}/status", "online")
        self.publish(f"gpumon/{worker_id}/info", info(**changes))

    def samples(self, *gpus: dict[str, Any], worker_id: str = "w1", **changes: Any) -> None:
        """Let a worker send a sample of these cards."""
        self._seq += 1
        payload = sample(self._seq, self.wall(), gpus=list(gpus), **changes)
        self.publish(f"gpumon/{worker_id}/metrics", payload)

    def happens(self, kind: str, value: int | None = None, worker_id: str = "w1", **changes: Any) -> dict[str, Any]:
        """Let a worker tell of an event, and return it."""
        event = {"v": 1, "time": self.wall(), "kind": kind, "gpu": "GPU-0", "value": value, "text": "it happened"}
        self.publish(f"gpumon/{worker_id}/event", event | changes)
        return event | changes

    def wait(self, seconds: float) -> None:
        """Let time pass without anybody saying anything."""
        end = self.passed + seconds
        while self.passed < end:
            self.passed = min(self.passed + 1.0, end)
            self.desk.tick()

    def reads(self, seconds: float, *gpus: dict[str, Any], worker_id: str = "w1", **changes: Any) -> None:
        """Let a worker send such samples for a while, one now and one at the end."""
        self.samples(*gpus, worker_id=worker_id, **changes)
        end = self.passed + seconds
        while self.passed < end:
            self.wait(min(STEP_S, end - self.passed))
            self.samples(*gpus, worker_id=worker_id, **changes)

    def settle(self) -> list[Alert]:
        """Have everything written and told, and return what was told since the last call."""
        self.desk.tick()
        assert self.writer.flush()
        self.desk.tick()
        told, self.told[:] = list(self.told), []
        return told

    @property
    def firing(self) -> list[tuple[str, str, str | None]]:
        """What fires: rule, worker, card."""
        return sorted(((a.rule, a.worker_id, a.gpu) for a in self.desk.active()), key=str)


@contextlib.contextmanager
def world(folder: Path | DataFolder, rules: dict[str, Any] | None = None, **settings: Any) -> Iterator[World]:
    """A desk that runs."""
    made = World(folder, rules, **settings)
    try:
        yield made
    finally:
        made.stop()


def hot(celsius: int | None = 90, index: int = 0, **changes: Any) -> dict[str, Any]:
    """A card of this temperature."""
    return gpu(index, temperature_c=celsius, **changes)
