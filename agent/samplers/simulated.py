"""The simulated source: readings of a machine that is not there, marked as `simulated` wherever they show."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.machine import Machine
from agent.processes import ProcessSetting
from agent.samplers.base import Inventory, Readings
from agent.simulation.machine import SimulatedMachine
from agent.simulation.models import Profile
from gpumon.messages import Event, HostReading, Source


class SimulatedSampler:
    """Reads a simulated machine that the worker's id and a profile decide about; needs no thread and no driver."""

    source: Source = "simulated"

    def __init__(
        self,
        worker_id: str,
        profile: Profile | None = None,
        processes: ProcessSetting = "script",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._machine = SimulatedMachine(worker_id, profile, clock)
        self._processes = processes

    @property
    def machine(self) -> Machine:
        """The simulated machine around the cards."""
        return self._machine.facts

    def host(self) -> HostReading:
        """Return the simulated machine's readings."""
        return self._machine.host()

    def start(self) -> None:
        """Do nothing: there is nothing to open."""

    def stop(self) -> None:
        """Do nothing: there is nothing to close."""

    def inventory(self) -> Inventory:
        """Return the cards that answer now."""
        return Inventory(
            gpus=tuple(card.inventory for card in self._machine.cards()),
            driver_version=self._machine.profile.driver_version,
            cuda_version=self._machine.profile.cuda_version,
        )

    def read(self) -> Readings:
        """Let time pass on the simulated machine, and read its cards."""
        return Readings(gpus=tuple(self._machine.read(self._processes)))

    def waits_for(self) -> str | None:
        """Return None: it waits for nothing."""
        return None

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        return self._machine.events()
