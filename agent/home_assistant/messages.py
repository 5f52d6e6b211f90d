"""The discovery messages: one for the worker, one for each of its cards, each a device with its entities.

Written after https://www.home-assistant.io/integrations/mqtt (device discovery, since Home Assistant 2024.12): what
stands beside `dev` holds for every component that does not say otherwise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.home_assistant import gpu_entities, worker_entities
from agent.home_assistant.entity import Entity
from gpumon.messages import GpuInventory, Info
from gpumon.topics import Channel, Topics
from gpumon.version import __version__

MISSED_SAMPLES = 3
_MAKER = "NVIDIA"

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """The worker that is announced, and what its messages have in common."""

    worker_id: str
    topics: Topics
    info: Info
    buttons: Mapping[str, tuple[str, str]]

    @property
    def identifier(self) -> str:
        """What the worker's device is known by."""
        return f"gpumon_{self.worker_id}"

    @property
    def metrics(self) -> str:
        """The topic of the samples."""
        return self.topics.worker(self.worker_id, Channel.METRICS)

    @property
    def status(self) -> str:
        """The topic on which the worker is online or offline."""
        return self.topics.worker(self.worker_id, Channel.STATUS)

    @property
    def expire_after_s(self) -> int:
        """Whole seconds after which a reading is too old to be shown."""
        return math.ceil(MISSED_SAMPLES * self.info.interval_s)

    @property
    def marked(self) -> str:
        """What marks names of what is not real."""
        return " (simulated)" if self.info.source == "simulated" else ""


def discovery_messages(machine: Machine, cards: Sequence[GpuInventory]) -> dict[str, bytes]:
    """Return what is published on which topic, the worker first: its cards refer to it."""
    messages = {machine.topics.discovery(machine.worker_id): _encoded(_worker(machine))}
    names = card_names(cards)
    for card in cards:
        messages[machine.topics.discovery(machine.worker_id, card.uuid)] = _encoded(_card(machine, card, names))
    return messages


def card_names(cards: Iterable[GpuInventory]) -> dict[str, str]:
    """Return a name for each card by its uuid: its model, told apart by the uuid's first part where there are more."""
    models = {card.uuid: (card.name or "GPU").removeprefix(_MAKER).strip() for card in cards}
    count = Counter(models.values())
    return {uuid: model if count[model] == 1 else f"{model} {_short(uuid)}" for uuid, model in models.items()}


def _short(uuid: str) -> str:
    return uuid.removeprefix("GPU-").removeprefix("MIG-").partition("-")[0]


def _worker(machine: Machine) -> Config:
    info = machine.info
    device = {
        "ids": [machine.identifier],
        "name": f"{machine.worker_id}{machine.marked}",
        "mf": "gpumon",
        "mdl": info.os,
        "hw": info.cpu,
        "sw": f"gpumon {info.agent_version}",
    }
    components: dict[str, Config] = {
        entity.key: {
            **entity.config(f"{machine.identifier}_{entity.key}", machine.metrics, worker_entities.STATEMENTS),
            "exp_aft": machine.expire_after_s,
        }
        for entity in worker_entities.READINGS
    }
    connected = worker_entities.CONNECTED
    components[connected.key] = {
        **connected.config(f"{machine.identifier}_{connected.key}", machine.status, ""),
        "stat_t": machine.status,
        "avty": [],
    }
    for key, (name, command) in machine.buttons.items():
        components[key] = {
            "p": "button",
            "name": name,
            "uniq_id": f"{machine.identifier}_{key}",
            "cmd_t": machine.topics.worker(machine.worker_id, Channel.COMMAND),
            "pl_prs": command,
            "qos": 1,
            "ret": False,
            "ic": "mdi:play",
        }
    return {
        "dev": _known(device),
        "o": _origin(),
        "avty": [{"t": machine.status}],
        "stat_t": machine.metrics,
        "cmps": components,
    }


def _card(machine: Machine, card: GpuInventory, names: Mapping[str, str]) -> Config:
    name = names[card.uuid]
    device = {
        "ids": [card.uuid],
        "name": f"{machine.worker_id} {name}{machine.marked}",
        "mf": _MAKER,
        "mdl": f"{card.name or 'GPU'}{machine.marked}",
        "hw": card.pci_bus_id and f"PCI {card.pci_bus_id}",
        "sw": machine.info.driver_version and f"driver {machine.info.driver_version}",
        "sn": card.serial,
        "via_device": machine.identifier,
    }
    is_online: Config = {"t": machine.status}
    components = {entity.key: _card_component(machine, card, entity) for entity in gpu_entities.READINGS}
    for entity in gpu_entities.CONDITIONS:
        components[entity.key] = {**_card_component(machine, card, entity), "avty": [is_online]}
    return {
        "dev": _known(device),
        "o": _origin(),
        "avty": [is_online, {"t": machine.metrics, "val_tpl": gpu_entities.availability(card.uuid)}],
        "avty_mode": "all",
        "stat_t": machine.metrics,
        "cmps": components,
    }


def _card_component(machine: Machine, card: GpuInventory, entity: Entity) -> Config:
    unique_id = f"gpumon_{card.uuid}_{entity.key}"
    config = entity.config(unique_id, machine.metrics, gpu_entities.selecting(card.uuid))
    return {**config, "exp_aft": machine.expire_after_s}


def _origin() -> Config:
    return {"name": "gpumon", "sw": __version__}


def _known(device: Config) -> Config:
    return {key: value for key, value in device.items() if value is not None}


def _encoded(config: Config) -> bytes:
    return msgspec.json.encode(config)
