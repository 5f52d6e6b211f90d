"""Readings through NVML, the library beneath nvidia-smi: the sampler of choice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pynvml

from agent.nvml import GpuLostError, Nvml, NvmlDeadError
from agent.power_state import SYSFS, is_asleep, nvidia_cards
from agent.processes import ProcessTable
from agent.samplers.base import Inventory, Readings, SamplerError
from agent.samplers.nvml_card import NvmlCard, open_card
from agent.samplers.pcie import NO_THROUGHPUT, PcieMeter
from agent.xid import XidWatcher
from gpumon.messages import Event, GpuInventory, GpuReading, Source

logger = logging.getLogger(__name__)

REOPEN_AFTER_S = 60.0
"""A GPU that has come back is seen only after NVML was closed and opened again: after this time, then ever rarer."""
REOPEN_AT_MOST_AFTER_S = 900.0


class NvmlSampler:
    """Reads all GPUs of this machine through NVML; to be used from one thread at a time.

    A GPU that no longer answers is reported as lost while the others go on; one that the driver has powered down is
    not woken. `known` is the last known inventory: it names the cards that are asleep when this starts.
    NVML's calls cannot be interrupted: where one hangs in the driver, `read()` does not return.
    """

    def __init__(self, table: ProcessTable, known: Sequence[GpuInventory] = (), sysfs: Path = SYSFS) -> None:
        self._table = table
        self._sysfs = sysfs
        self._nvml = Nvml()
        self._xids = XidWatcher(self._nvml)
        self._pcie = PcieMeter()
        self._seen = {gpu.uuid: gpu for gpu in known}
        self._cards: list[NvmlCard] = []
        self._asleep: set[str] = set()
        self._lost: set[str] = set()
        self._resting = False
        self._unreadable: list[str] = []
        self._driver_version: str | None = None
        self._cuda_version: str | None = None
        self._reopen_at_s: float | None = None
        self._reopen_after_s = REOPEN_AFTER_S

    @property
    def source(self) -> Source:
        """The name under which readings are published."""
        return "nvml"

    def start(self) -> None:
        """Open NVML and the GPUs that are awake.

        Raises SamplerError: when NVML cannot be used, or finds no GPU where none is known.
        """
        self._open()
        if not self._cards and not self._asleep and not self._seen:
            self.stop()
            raise SamplerError("NVML finds no GPU: see nvidia-smi -L and dmesg, or give the container its GPUs")

    def stop(self) -> None:
        """Close NVML; safe to call twice."""
        for card in self._cards:
            card.release()
        self._cards = []
        if self._xids.stop():
            self._nvml.stop()
        else:
            logger.warning("NVML is left open: a call to it has not returned")

    def inventory(self) -> Inventory:
        """Return the cards that answer or sleep, and the driver."""
        cards = [card.inventory for card in self._cards if card.uuid not in self._lost]
        opened = {card.uuid for card in self._cards}
        cards += [gpu for gpu in self._seen.values() if gpu.pci_bus_id in self._asleep and gpu.uuid not in opened]
        return Inventory(tuple(cards), self._driver_version, self._cuda_version)

    def read(self) -> Readings:
        """Read every card once; takes 20 ms and the time that NVML needs.

        Raises SamplerError: when NVML as a whole does not answer; it is opened again at the next call.
        """
        self._open_again_where_needed()
        try:
            return self._read()
        except NvmlDeadError:
            self.stop()
            raise

    def waits_for(self) -> str | None:
        """Return the call to NVML that has not returned yet, and the GPU it is about."""
        return self._nvml.pending()

    def events(self) -> list[Event]:
        """Return the XIDs and double-bit ECC errors since the last call, oldest first."""
        return self._xids.events()

    # -- opening --

    def _open(self) -> None:
        bus_ids = nvidia_cards(self._sysfs)
        self._asleep = {bus_id for bus_id in bus_ids if is_asleep(bus_id, self._sysfs)}
        self._cards, self._unreadable, self._lost = [], [], set()
        self._resting = bool(bus_ids) and len(self._asleep) == len(bus_ids)
        if self._resting:
            return
        self._nvml.start()
        try:
            self._driver_version = self._nvml.query(pynvml.nvmlSystemGetDriverVersion)
            self._cuda_version = _cuda_version(self._nvml.query(pynvml.nvmlSystemGetCudaDriverVersion))
            self._find_cards([bus_id for bus_id in bus_ids if bus_id not in self._asleep] if self._asleep else None)
        except SamplerError:
            self.stop()
            raise
        self._xids.start({card.uuid: card.device for card in self._cards})

    def _find_cards(self, awake: Sequence[str] | None) -> None:
        """Open all GPUs; where some sleep, those at these bus ids: a handle by index may wake others on its way."""
        if awake is None:
            for index in range(self._nvml.query(pynvml.nvmlDeviceGetCount) or 0):
                self._open_card(f"GPU {index}", pynvml.nvmlDeviceGetHandleByIndex, index, index)
        else:
            for bus_id in awake:
                self._open_card(bus_id, pynvml.nvmlDeviceGetHandleByPciBusId, bus_id)
            self._cards.sort(key=lambda card: -1 if card.index is None else card.index)

    def _open_card(self, place: str, find: Callable[[Any], Any], where: Any, index: int | None = None) -> None:
        problem = "cannot be opened: it does not answer, or this user may not (see nvidia-smi -L)"
        try:
            handle = self._nvml.query(find, where)
            if handle is not None:
                index = self._nvml.query(pynvml.nvmlDeviceGetIndex, handle) if index is None else index
                card = open_card(self._nvml, handle, place, index, self._table)
                if card is not None:
                    self._cards.append(card)
                    self._seen[card.uuid] = card.inventory
                    return
        except NvmlDeadError:
            raise
        except SamplerError as error:
            problem = str(error)
        self._unreadable.append(f"{place}: {problem}")

    def _open_again_where_needed(self) -> None:
        now_s = time.monotonic()
        if self._nvml.started:
            woken = any(not is_asleep(bus_id, self._sysfs) for bus_id in self._asleep if not self._has_card_at(bus_id))
            due = self._reopen_at_s is not None and now_s >= self._reopen_at_s
            if not woken and not due:
                return
            if due:
                self._reopen_after_s = min(self._reopen_after_s * 2, REOPEN_AT_MOST_AFTER_S)
            self._reopen_at_s = None
            logger.debug("NVML is opened again")
            self.stop()
        elif self._resting and all(is_asleep(bus_id, self._sysfs) for bus_id in self._asleep):
            return
        self._open()

    def _has_card_at(self, bus_id: str) -> bool:
        return any(card.inventory.pci_bus_id == bus_id for card in self._cards)

    # -- reading --

    def _read(self) -> Readings:
        bus_ids = {card.inventory.pci_bus_id for card in self._cards if card.inventory.pci_bus_id}
        unopened = self._asleep - bus_ids
        self._asleep = unopened | {bus_id for bus_id in bus_ids if is_asleep(bus_id, self._sysfs)}
        awake = [card for card in self._cards if card.inventory.pci_bus_id not in self._asleep]
        pcie = self._pcie.measure({card.uuid: card.device for card in awake})
        problems = list(self._unreadable)
        readings: list[GpuReading] = []
        for card in self._cards:
            xid = self._xids.last_xid(card.uuid)
            if card.inventory.pci_bus_id in self._asleep:
                readings.append(card.not_read("asleep", xid))
                continue
            try:
                reading = card.read(time.monotonic(), pcie.get(card.uuid, NO_THROUGHPUT), xid)
            except GpuLostError as error:
                reading = card.not_read("lost", xid)
                self._lost.add(card.uuid)
                problems.append(f"{card.place} no longer answers ({error}): see dmesg, it may need a reboot")
            else:
                self._seen[card.uuid] = card.inventory
                self._lost.discard(card.uuid)
            if reading.state == "error":
                problems.append(f"{card.place} answers with an error ({card.device.problem}): see dmesg")
            readings.append(reading)
        self._table.forget_all_but(process.pid for reading in readings for process in reading.processes)
        readings += self._sleepers_never_opened(unopened)
        missing = self._not_among(readings)
        self._plan_reopening(healthy=not problems and not missing)
        readings += missing
        return Readings(tuple(readings), "; ".join(problems) or None)

    def _sleepers_never_opened(self, bus_ids: set[str]) -> list[GpuReading]:
        """Return the sleeping cards that are known from before; one that nobody has seen awake has no uuid yet."""
        return [
            GpuReading(uuid=gpu.uuid, index=gpu.index, name=gpu.name, state="asleep")
            for gpu in self._seen.values()
            if gpu.pci_bus_id in bus_ids
        ]

    def _not_among(self, readings: Sequence[GpuReading]) -> list[GpuReading]:
        """Return the known cards that NVML no longer lists; the XID that tells why stays with them."""
        listed = {reading.uuid for reading in readings}
        return [
            GpuReading(uuid=gpu.uuid, name=gpu.name, state="lost", last_xid=self._xids.last_xid(gpu.uuid))
            for gpu in self._seen.values()
            if gpu.uuid not in listed
        ]

    def _plan_reopening(self, *, healthy: bool) -> None:
        if healthy:
            self._reopen_at_s, self._reopen_after_s = None, REOPEN_AFTER_S
        elif self._reopen_at_s is None:
            self._reopen_at_s = time.monotonic() + self._reopen_after_s


def _cuda_version(version: int | None) -> str | None:
    """Return `13.0` for 13000 (NVML reference: thousands are the major version, tens the minor)."""
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"
