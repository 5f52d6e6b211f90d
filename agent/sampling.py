"""Looking at the cards each interval, in a thread of its own: a driver call that hangs holds up nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.samplers.base import Inventory, Readings, Sampler, SamplerError
from agent.schedule import Schedule
from gpumon.messages import Event, GpuInventory, GpuReading, HostReading

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
LONGEST_RETRY_S = 60.0
INVENTORY_INTERVAL_S = 600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look found; `problem` says why it is not whole, if it is not."""

    gpus: list[GpuReading]
    host: HostReading | None = None
    problem: str | None = None


class CardMemory(Protocol):
    """Remembers which cards this machine has had (`agent.cards.KnownCards`)."""

    def inventory(self) -> Sequence[GpuInventory]:
        """Return the cards that are known, those that are lost without an index."""

    def complete(self, inventory: Inventory, readings: Readings) -> tuple[list[GpuReading], list[Event]]:
        """Add the cards that no longer answer to the readings, and say which were lost or found since the last look."""


class SampleListener(Protocol):
    """Hears what sampling finds; called from more than one thread."""

    def sampled(self, sample: Sample) -> None:
        """Take a sample: one each interval, also while the source does not answer."""

    def found(self, inventory: Inventory) -> None:
        """Take the inventory: at first, and when it has changed."""

    def happened(self, event: Event) -> None:
        """Take an event."""


class Sampling:
    """Reads a sampler at every tick of its schedule and hands what it finds to a listener.

    A source that fails is closed and opened again, at first at the next tick and then ever more rarely (a minute at
    most). One that hangs is waited for, since a call into the driver cannot be ended; as long as it does, a second
    thread hands out samples that say so.
    """

    def __init__(
        self,
        *,
        sampler: Sampler,
        cards: CardMemory,
        host: Callable[[], HostReading | None],
        listener: SampleListener,
        interval_s: float,
        hang_after_s: float | None = None,
    ) -> None:
        self._sampler = sampler
        self._cards = cards
        self._host = host
        self._listener = listener
        self._interval_s = interval_s
        self._hang_after_s = hang_after_s if hang_after_s is not None else max(3 * interval_s, 10.0)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._first_look = threading.Event()
        self._host_turn = threading.Lock()
        self._busy_since: float | None = None
        self._is_open = False
        self._problem: str | None = None
        self._retry_at = float("-inf")
        self._retry_s = interval_s
        self._inventory: Inventory | None = None
        self._inventory_at = float("-inf")
        self._answering: frozenset[str] = frozenset()
        self._last: list[GpuReading] = []

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Open the sampler and begin; where that takes longer than `timeout_s`, it goes on in the background.

        Raises SamplerError: when the sampler cannot be used here.
        """
        self._last = [_known(gpu) for gpu in self._cards.inventory()]
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._run, "sampling"), (self._watch, "sampling-watch"))
        ]
        for thread in self._threads:
            thread.start()
        if self._first_look.wait(timeout_s) and self._problem is not None and not self._is_open:
            self.stop()
            raise SamplerError(self._problem)

    def stop(self, timeout_s: float = 0.5) -> None:
        """End both threads; one that hangs in the driver is left behind."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        for _ in Schedule(self._interval_s).ticks(self._stop):
            self._tick()
        self._sampler.stop()

    def _tick(self) -> None:
        try:
            self._busy_since = time.monotonic()
            sample = self._look()
            self._busy_since = None
            if self._is_open or self._first_look.is_set():
                self._listener.sampled(sample)
        except Exception:
            logger.exception("a sample could not be published; the next one follows")
        finally:
            self._busy_since = None
            self._first_look.set()

    def _watch(self) -> None:
        for _ in Schedule(self._interval_s).ticks(self._stop):
            busy_since = self._busy_since
            hangs_s = time.monotonic() - busy_since if busy_since is not None else 0.0
            if hangs_s > self._hang_after_s:
                problem = self._hanging(hangs_s)
                try:
                    self._listener.sampled(Sample(without_readings(self._last), self._host_reading(), problem))
                except Exception:
                    logger.exception("that readings do not come could not be published; it is tried again")

    def _hanging(self, hangs_s: float) -> str:
        """Say what has not answered for so long."""
        if self._host_turn.locked():
            return f"the host's readings have not come for {hangs_s:.0f} s: a file system may hang; see dmesg"
        waits_for = self._sampler.waits_for()
        what = "" if waits_for is None else f"{waits_for} hangs in the driver; "
        source = self._sampler.source
        return f"{source} has not answered for {hangs_s:.0f} s: {what}see dmesg, the machine may need a reboot"

    def _look(self) -> Sample:
        if not self._is_open and time.monotonic() < self._retry_at:
            return Sample(without_readings(self._last), self._host_reading(), self._problem)
        try:
            self._open()
            readings = self._sampler.read()
            gpus, events = self._cards.complete(self._followed(readings), readings)
            events = [*self._sampler.events(), *events]
        except SamplerError as error:
            self._close(str(error))
        except Exception as error:
            logger.exception("the sampler %s failed", self._sampler.source)
            self._close(f"{self._sampler.source} failed: {error!r}")
        else:
            self._problem, self._retry_s, self._last = readings.problem, self._interval_s, gpus
            for event in events:
                self._listener.happened(event)
        return Sample(
            self._last if self._is_open else without_readings(self._last),
            self._host_reading(),
            self._problem,
        )

    def _host_reading(self) -> HostReading | None:
        """Read the host; None where the other thread does so already, and may hang in it."""
        if not self._host_turn.acquire(blocking=False):
            return None
        try:
            return self._host()
        except Exception:
            logger.exception("the host's readings failed")
            return None
        finally:
            self._host_turn.release()

    def _open(self) -> None:
        if not self._is_open:
            self._sampler.start()
            self._is_open = True
            self._inventory = None

    def _close(self, problem: str) -> None:
        self._is_open = False
        self._problem = problem
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, max(LONGEST_RETRY_S, self._interval_s))
        self._sampler.stop()

    def _followed(self, readings: Readings) -> Inventory:
        """Return the inventory, asked for again where other cards answer than before, and now and then."""
        answering = frozenset(reading.uuid for reading in readings.gpus if reading.state != "lost")
        is_old = time.monotonic() - self._inventory_at > INVENTORY_INTERVAL_S
        if self._inventory is not None and answering == self._answering and not is_old:
            return self._inventory
        inventory = self._sampler.inventory()
        self._inventory_at = time.monotonic()
        self._answering = answering
        if inventory != self._inventory:
            self._inventory = inventory
            self._listener.found(inventory)
        return inventory


def without_readings(gpus: list[GpuReading]) -> list[GpuReading]:
    """Return the same cards with nothing known about them but which they are; a lost one stays lost."""
    return [
        GpuReading(uuid=gpu.uuid, index=gpu.index, name=gpu.name, state="lost" if gpu.state == "lost" else "error")
        for gpu in gpus
    ]


def _known(gpu: GpuInventory) -> GpuReading:
    """Return a card that has not been read yet."""
    return GpuReading(uuid=gpu.uuid, index=gpu.index, name=gpu.name, state="lost" if gpu.index is None else "error")
