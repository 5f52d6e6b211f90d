"""The cards of this machine as last known, kept on disk, so that one that vanishes stays listed as lost."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Literal

import msgspec

from agent.samplers.base import Inventory, Readings
from gpumon.files import write_atomically
from gpumon.messages import Event, GpuInventory, GpuReading

logger = logging.getLogger(__name__)


class KnownCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card, and whether it was lost when it was last looked for."""

    gpu: GpuInventory
    lost: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True):
    cards: list[KnownCard]
    v: Literal[1] = 1


class KnownCards:
    """Knows every card that this machine has had, by uuid; NVML's index may change from one start to the next.

    The file belongs to one source of readings: simulated cards are not the machine's.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._cards: dict[str, KnownCard] = {}
        self._written: list[KnownCard] | None = None
        self._cannot_write = False

    def load(self) -> None:
        """Read the file. One that cannot be read is put aside and told; what it held is then not known any more."""
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("%s cannot be read (%s): lost cards are not known", self._file, error.strerror)
            return
        try:
            cards = msgspec.json.decode(content, type=_File).cards
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            aside = self._file.with_name(self._file.name + ".bad")
            logger.warning("%s is damaged (%s): kept as %s, and started afresh", self._file, error, aside.name)
            with contextlib.suppress(OSError):
                self._file.replace(aside)
            return
        self._cards = {card.gpu.uuid: card for card in cards}
        self._written = cards

    def inventory(self) -> tuple[GpuInventory, ...]:
        """Return all cards, those that are lost without an index."""
        return tuple(
            msgspec.structs.replace(card.gpu, index=None) if card.lost else card.gpu for card in self._cards.values()
        )

    def complete(self, inventory: Inventory, readings: Readings) -> tuple[list[GpuReading], list[Event]]:
        """Return the readings with the cards that are missing from them added as lost, and what has changed.

        A card that is lost, found again, or new where others were known, gives one event. Changes are written to disk.
        """
        is_first_look = not self._cards
        complete = [_blanked(reading) if reading.state == "lost" else reading for reading in readings.gpus]
        answering = {reading.uuid for reading in complete if reading.state != "lost"}
        now = dict(self._cards)
        now.update({gpu.uuid: KnownCard(gpu=gpu, lost=gpu.uuid not in answering) for gpu in inventory.gpus})
        for reading in complete:
            known = now.get(reading.uuid) or KnownCard(gpu=_inventory_from(reading))
            now[reading.uuid] = KnownCard(gpu=known.gpu, lost=reading.state == "lost")
        for uuid, card in list(now.items()):
            if uuid not in answering:
                now[uuid] = KnownCard(gpu=card.gpu, lost=True)
        listed = {reading.uuid for reading in complete}
        complete += [_lost(card.gpu) for uuid, card in now.items() if uuid not in listed]
        events = [] if is_first_look else _changes(self._cards, now)
        self._cards = now
        self._write()
        return complete, events

    def _write(self) -> None:
        cards = list(self._cards.values())
        if cards == self._written:
            return
        try:
            write_atomically(self._file, msgspec.json.format(msgspec.json.encode(_File(cards=cards))) + b"\n")
        except OSError as error:
            if not self._cannot_write:
                logger.warning("%s cannot be written (%s): lost cards are not remembered", self._file, error.strerror)
            self._cannot_write = True  # told once, and tried again at the next look
        else:
            self._written, self._cannot_write = cards, False


def _changes(before: dict[str, KnownCard], now: dict[str, KnownCard]) -> list[Event]:
    events = []
    for uuid, card in now.items():
        was = before.get(uuid)
        place = f"{card.gpu.name or 'GPU'} at {card.gpu.pci_bus_id or 'an unknown place'}"
        if card.lost and (was is None or not was.lost):
            text = f"{place} no longer answers"
            events.append(Event(time=time.time(), kind="gpu_lost", gpu=uuid, text=text))
        elif not card.lost and (was is None or was.lost):
            text = f"{place} is new" if was is None else f"{place} answers again"
            events.append(Event(time=time.time(), kind="gpu_found", gpu=uuid, text=text))
    return events


def _blanked(reading: GpuReading) -> GpuReading:
    return GpuReading(uuid=reading.uuid, name=reading.name, state="lost", last_xid=reading.last_xid)


def _lost(gpu: GpuInventory) -> GpuReading:
    return GpuReading(uuid=gpu.uuid, name=gpu.name, state="lost")


def _inventory_from(reading: GpuReading) -> GpuInventory:
    return GpuInventory(uuid=reading.uuid, index=reading.index, name=reading.name)
