"""The agent as a service: put together from the settings, and run until it is told to stop."""

from __future__ import annotations

import threading
from pathlib import Path

from agent import memory
from agent.cards import KnownCards
from agent.command_conditions import CommandConditions, command_conditions
from agent.command_user import warn_of_root
from agent.folder_lock import alone_in
from agent.home_assistant.offer import home_assistant_extensions, offered_buttons
from agent.identity import Identity, keep_worker_id, load_identity, worker_id_of
from agent.joining import Joining
from agent.login import Login, tell_joined
from agent.machine import this_machine
from agent.node import WorkerNode
from agent.pulse import Pulse
from agent.samplers.choose import choose_sampler
from agent.samplers.host import HostSampler
from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.files import make_folder
from gpumon.settings import Settings
from gpumon.topics import Topics

CARDS_FILE = "cards.json"
LOOK_AT_LOGIN_S = 2.0
MAX_LABEL = 256  # characters, as `gpumon.messages.Label` allows


def run_agent(settings: Settings, stop: threading.Event) -> None:
    """Publish this machine's readings and run commands on it, until `stop` is set.

    Raises SettingError: for settings that cannot be used. Raises StartError: when the data folder cannot be written,
    another agent uses it, or the master does not let this machine join. Raises SamplerError: when there is nothing to
    read on this machine.
    """
    # What cannot be used is told of before a join key is used up.
    _check_labels(settings.agent.labels)
    conditions = command_conditions(settings.commands)
    offered_buttons(settings)
    worker_id = worker_id_of(settings)
    folder = make_folder(DataFolder(Path(settings.data)).agent(worker_id))
    with alone_in(folder):
        keep_worker_id(settings, worker_id)
        joining = Joining(settings, worker_id, folder)
        completed = joining.settings(stop)
        if completed is not None:
            _run(completed, joining, conditions, stop)


def _run(settings: Settings, joining: Joining, conditions: CommandConditions, stop: threading.Event) -> None:
    address = _address(settings)
    who = load_identity(settings)
    node = _node(settings, address, who, conditions)
    warn_of_root(settings)
    pulse = Pulse(who.folder)
    try:
        node.start()
        if joining.has_joined:
            tell_joined(node)
        memory.settle()
        login = Login(settings, who, joining)
        while not stop.wait(LOOK_AT_LOGIN_S):
            pulse.beat(node.trouble)
            if node.is_login_refused:
                login.renew(node, address, stop)
    finally:
        pulse.end()
        node.stop()


def _node(settings: Settings, address: BrokerAddress, who: Identity, conditions: CommandConditions) -> WorkerNode:
    cards = KnownCards(who.folder / CARDS_FILE)
    cards.load()
    topics = Topics(settings.mqtt.base, settings.home_assistant.prefix)
    return WorkerNode(
        who,
        address,
        topics,
        settings.agent,
        sampler=choose_sampler(settings.agent, who.worker_id, cards.inventory()),
        cards=cards,
        host=HostSampler().read,
        machine=this_machine(),
        conditions=conditions,
        extensions=home_assistant_extensions(settings, who, topics, cards),
    )


def _address(settings: Settings) -> BrokerAddress:
    if settings.agent.master is None:
        raise SettingError("where the broker is has not been said: give --master HOST, or a join line with --join -")
    return parse_broker_address(settings.agent.master)


def _check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if len(key) > MAX_LABEL or len(value) > MAX_LABEL:
            raise SettingError(f"--label {key[:20]}...: at most {MAX_LABEL} characters each for key and value")
