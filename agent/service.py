"""The agent as a service: put together from the settings, and run until it is told to stop."""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path

from agent import memory
from agent.cards import KnownCards
from agent.command_conditions import command_conditions
from agent.identity import Identity, load_identity
from agent.machine import this_machine
from agent.node import WorkerNode
from agent.samplers.choose import choose_sampler
from agent.samplers.host import HostSampler
from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.errors import SettingError, StartError
from gpumon.settings import Settings
from gpumon.topics import Topics

CARDS_FILE = "cards.json"
MAX_LABEL = 256  # characters, as `gpumon.messages.Label` allows


def run_agent(settings: Settings, stop: threading.Event) -> None:
    """Publish this machine's readings and run commands on it, until `stop` is set.

    Raises SettingError: for settings that cannot be used. Raises StartError: when the data folder cannot be written,
    or another agent uses it. Raises SamplerError: when there is nothing to read on this machine.
    """
    address = _address(settings)
    _check_labels(settings.agent.labels)
    who = load_identity(settings)
    with _alone_in(who.folder):
        node = _node(settings, address, who)
        try:
            node.start()
            memory.settle()
            stop.wait()
        finally:
            node.stop()


def _node(settings: Settings, address: BrokerAddress, who: Identity) -> WorkerNode:
    cards = KnownCards(who.folder / CARDS_FILE)
    cards.load()
    return WorkerNode(
        who,
        address,
        Topics(settings.mqtt.base),
        settings.agent,
        sampler=choose_sampler(settings.agent, who.worker_id, cards.inventory()),
        cards=cards,
        host=HostSampler().read,
        machine=this_machine(),
        conditions=command_conditions(settings.commands),
    )


def _address(settings: Settings) -> BrokerAddress:
    if settings.agent.master is None:
        raise SettingError("where the broker is has not been said: give --master HOST")
    return parse_broker_address(settings.agent.master)


def _check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if len(key) > MAX_LABEL or len(value) > MAX_LABEL:
            raise SettingError(f"--label {key[:20]}...: at most {MAX_LABEL} characters each for key and value")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder for this agent alone: two with one client id would take the connection from each other."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"another agent already runs with {folder}: stop it, or give another --worker-id"
            ) from error
        yield
