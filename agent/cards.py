"""The cards that this machine has had: one that no longer answers stays listed as lost, also after a restart."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import msgspec

from agent.samplers.base import Inventory, Readings
from gpumon.files import write_atomically
from gpumon.messages import Event, GpuInventory, GpuReading

logger = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(list[GpuInventory])


class KnownCards:
    """Keeps the last known inventory in a file and completes each reading with the cards that are missing from it.

    A card is known by its uuid; its index may change when another is lost. One goes only when an admin retires it, by
    removing it from the file or the file as a whole.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, GpuInventory] | None = None
        self._lost: set[str] | None = None

    def known(self) -> list[GpuInventory]:
        """Return every card that this machine has had, by index where it has one."""
        return sorted(self._cards().values(), key=lambda card: (card.index is None, card.index or 0, card.uuid))

    def complete(self, inventory: Inventory, readings: Readings) -> tuple[list[GpuReading], list[Event]]:
        """Add the cards that no longer answer to the readings, and say which were lost or found since the last look.

        A card that was lost when the agent stopped and still is makes no event again.
        """
        self._remember(inventory)
        answering = {reading.uuid: reading for reading in readings.gpus}
        missing = [card for card in self.known() if card.uuid not in answering]
        gpus = [*readings.gpus, *(GpuReading(uuid=card.uuid, name=card.name, state="lost") for card in missing)]
        lost = {gpu.uuid for gpu in gpus if gpu.state == "lost"}
        before = self._lost if self._lost is not None else {card.uuid for card in missing}
        self._lost = lost
        return gpus, [
            *(self._event("gpu_lost", uuid, "no longer answers") for uuid in sorted(lost - before)),
            *(self._event("gpu_found", uuid, "answers again") for uuid in sorted(before - lost)),
        ]

    def _event(self, kind: str, uuid: str, text: str) -> Event:
        card = self._cards().get(uuid)
        name = card.name if card is not None and card.name else "GPU"
        place = f" at {card.pci_bus_id}" if card is not None and card.pci_bus_id else ""
        return msgspec.convert({"time": time.time(), "kind": kind, "gpu": uuid, "text": f"{name}{place} {text}"}, Event)

    def _remember(self, inventory: Inventory) -> None:
        cards = self._cards()
        changed = {card.uuid: card for card in inventory.gpus if cards.get(card.uuid) != card}
        if not changed:
            return
        cards.update(changed)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, msgspec.json.format(msgspec.json.encode(self.known())) + b"\n")
        except OSError as error:
            logger.warning("the known cards cannot be kept in %s: %s", self._file, error.strerror)

    def _cards(self) -> dict[str, GpuInventory]:
        if self._known is None:
            self._known = {card.uuid: card for card in self._load()}
        return self._known

    def _load(self) -> list[GpuInventory]:
        try:
            return _decoder.decode(self._file.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            aside = self._file.with_suffix(".unreadable")
            with contextlib.suppress(OSError):
                self._file.replace(aside)
            logger.warning(
                "the known cards in %s are unreadable and start afresh; kept as %s: %s", self._file, aside, error
            )
            return []
