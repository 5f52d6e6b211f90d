"""Simulated workers for a demonstration: several in one process, each with a connection of its own.

Their readings are made up and marked as simulated, but commands sent to them are run for real, on this machine and
within the limits that the settings give. `nvidia-smi` shows the simulated cards, and GPUMON_SIMULATED is 1.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.cards import KnownCards
from agent.command_conditions import command_conditions
from agent.home_assistant.offer import home_assistant_extensions
from agent.identity import Identity, identity
from agent.node import WorkerNode
from agent.samplers.base import Readings
from agent.samplers.simulated import SimulatedSampler
from agent.service import CARDS_FILE
from agent.simulation import nvidia_smi
from agent.simulation.models import PROFILES, Profile
from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.link import Credentials
from gpumon.settings import AgentSettings, Settings
from gpumon.topics import Topics


def demo_worker_ids(count: int) -> list[str]:
    """Return the ids of this many simulated workers."""
    return [f"demo-gpu-{number:02d}" for number in range(1, count + 1)]


def run_demo(settings: Settings, tokens: Mapping[str, str], stop: threading.Event) -> None:
    """Run one simulated worker for each id and its token, until `stop` is set.

    They connect to `agent.master`, or where that is not set to the broker on this machine at `mqtt.port`. Raises
    StartError: when the data folder cannot be written.
    """
    address = _address(settings)
    nodes = [
        demo_node(settings, address, identity(Path(settings.data), id_, Credentials(id_, token)), number)
        for number, (id_, token) in enumerate(tokens.items())
    ]
    try:
        for node in nodes:
            node.start()
        stop.wait()
    finally:
        ending = [threading.Thread(target=node.stop, name=f"stop-{node.worker_id}") for node in nodes]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join()


def demo_node(settings: Settings, address: BrokerAddress, who: Identity, number: int) -> WorkerNode:
    """Return the simulated worker of this number; the number decides what kind of machine it is."""
    profile = PROFILES[number % len(PROFILES)]
    cards_file = who.folder / "simulated.json"
    programs = nvidia_smi.install(who.folder / "bin", cards_file)
    sampler = _SampledToFile(who.worker_id, profile, settings.agent, cards_file)
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    labels = {"rack": str(1 + number // 4), **settings.agent.labels}
    cards = KnownCards(who.folder / CARDS_FILE)
    cards.load()
    topics = Topics(settings.mqtt.base, settings.home_assistant.prefix)
    return WorkerNode(
        who,
        address,
        topics,
        msgspec.structs.replace(settings.agent, labels=labels),
        sampler=sampler,
        cards=cards,
        host=sampler.host,
        machine=sampler.machine,
        conditions=command_conditions(settings.commands, GPUMON_SIMULATED="1", PATH=path),
        extensions=home_assistant_extensions(settings, who, topics, cards),
    )


class _SampledToFile(SimulatedSampler):
    """Keeps its latest readings in a file, where the simulated `nvidia-smi` finds them."""

    def __init__(self, worker_id: str, profile: Profile, settings: AgentSettings, file: Path) -> None:
        super().__init__(worker_id, profile, settings.processes)
        self._file = file

    def read(self) -> Readings:
        """Read the simulated cards."""
        readings = super().read()
        unfinished = self._file.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode({"gpus": readings.gpus}))
        unfinished.replace(self._file)
        return readings


def _address(settings: Settings) -> BrokerAddress:
    if settings.agent.master is not None:
        return parse_broker_address(settings.agent.master)
    return BrokerAddress("127.0.0.1", settings.mqtt.port, tls=False)
