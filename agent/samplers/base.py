"""What every sampler promises, so that the rest of the agent does not care where readings come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gpumon.errors import GpumonError
from gpumon.messages import Event, GpuInventory, GpuReading, Source


class SamplerError(GpumonError):
    """Readings cannot be had from this source now; the message says why and what to do."""

    see = "troubleshooting.md#a-worker-is-there-its-gpus-are-not"


@dataclass(frozen=True, slots=True)
class Inventory:
    """The cards that answer now, and the driver they run on."""

    gpus: tuple[GpuInventory, ...]
    driver_version: str | None = None
    cuda_version: str | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at all cards that answer; `problem` says what could not be read, if anything."""

    gpus: tuple[GpuReading, ...]
    problem: str | None = None


class Sampler(Protocol):
    """A source of readings. Constructing one does nothing; `start()` opens it and `stop()` closes it."""

    @property
    def source(self) -> Source:
        """The name under which readings are published."""

    def start(self) -> None:
        """Open the source. Raises SamplerError: when it cannot be used on this machine."""

    def stop(self) -> None:
        """Close the source; safe to call twice, and on one that never started."""

    def inventory(self) -> Inventory:
        """Return the cards that answer. Raises SamplerError: when the source as a whole does not."""

    def read(self) -> Readings:
        """Read every card once. Raises SamplerError: when the source as a whole does not answer."""

    def waits_for(self) -> str | None:
        """Return what it waits for now, as a message names it, None where it cannot tell; asked from any thread."""

    def events(self) -> list[Event]:
        """Return what happened since the last call (XIDs, uncorrectable ECC errors), oldest first."""
