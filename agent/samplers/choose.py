"""Which source is read: the one that the setting names, or the first that works here."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence

import pynvml

from agent.nvml import Nvml
from agent.processes import ProcessTable
from agent.samplers.base import Inventory, Readings, Sampler, SamplerError
from agent.samplers.nvml import NvmlSampler
from agent.samplers.simulated import SimulatedSampler
from gpumon.messages import Event, GpuInventory, Source
from gpumon.settings import AgentSettings

logger = logging.getLogger(__name__)


def choose_sampler(settings: AgentSettings, worker_id: str, known: Sequence[GpuInventory] = ()) -> Sampler:
    """Return the sampler that `agent.source` asks for, not yet started; `known` are the cards this machine has had."""
    if settings.source == "simulated":
        return SimulatedSampler(worker_id, processes=settings.processes)
    table = ProcessTable(settings.processes)
    if settings.source == "nvml":
        return NvmlSampler(table, known)
    if settings.source == "nvidia-smi":
        return _nvidia_smi(table)
    return FirstThatWorks([lambda: NvmlSampler(table, known), lambda: _nvidia_smi(table)])


def nvml_finds_a_gpu() -> bool:
    """Tell whether NVML can be used here and counts a GPU; opens none, so it wakes none."""
    nvml = Nvml()
    try:
        nvml.start()
        return bool(nvml.query(pynvml.nvmlDeviceGetCount))
    except SamplerError as error:
        logger.debug("no agent for this machine: %s", error)
        return False
    finally:
        nvml.stop()


def _nvidia_smi(table: ProcessTable) -> Sampler:
    # Imported only where it is needed: the XML parser is memory that an agent on NVML does without.
    module = importlib.import_module("agent.samplers.nvidia_smi")
    sampler: Sampler = module.NvidiaSmiSampler(table)
    return sampler


class FirstThatWorks:
    """A sampler that tries several sources each time it starts, and reads the first that can be opened."""

    def __init__(self, makers: Sequence[Callable[[], Sampler]]) -> None:
        self._makers = makers
        self._chosen: Sampler | None = None
        self._tried: Sampler | None = None

    @property
    def source(self) -> Source:
        """The name of the source that is read, NVML's as long as none is."""
        return self._chosen.source if self._chosen is not None else "nvml"

    def start(self) -> None:
        """Open the first source that can be. Raises SamplerError: saying what each answered."""
        refusals = []
        for make in self._makers:
            self._tried = sampler = make()
            try:
                sampler.start()
            except SamplerError as error:
                refusals.append(str(error))
                continue
            if refusals:
                logger.warning("%s is read instead: %s", sampler.source, "; ".join(refusals))
            self._chosen = sampler
            return
        raise SamplerError(
            f"no GPU can be read here: {'; '.join(refusals)}; to try gpumon without a GPU: --source simulated"
        )

    def stop(self) -> None:
        """Close the source that is read."""
        if self._chosen is not None:
            self._chosen.stop()

    def inventory(self) -> Inventory:
        """Return the cards that answer."""
        return self._opened().inventory()

    def read(self) -> Readings:
        """Read every card once."""
        return self._opened().read()

    def waits_for(self) -> str | None:
        """Return what the source that was opened last, or is being opened, waits for."""
        return self._tried.waits_for() if self._tried is not None else None

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        return self._opened().events()

    def _opened(self) -> Sampler:
        if self._chosen is None:
            raise SamplerError("no source is open")
        return self._chosen
