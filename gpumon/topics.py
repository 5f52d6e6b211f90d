"""MQTT topics: how they are built from a worker's id, and read back from a message.

`Topics` knows the base (`gpumon` unless the setting `mqtt.base` says otherwise); everything else asks it, so that no
other file spells a topic.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from enum import Enum

from gpumon.errors import InvalidTopicError

RESERVED_IDS = frozenset({"all", "master", "join", "audit"})
_WORKER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def check_worker_id(worker_id: str) -> str:
    """Return `worker_id` if the contract allows it.

    Raises InvalidTopicError: for reserved names and anything that is not `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`; `/`, `#`
    and `+` have a meaning in topics.
    """
    if not _WORKER_ID.fullmatch(worker_id):
        raise InvalidTopicError(
            f"worker id {worker_id!r} is not allowed: use 1 to 63 letters, digits, '-' and '_', beginning with a "
            "letter or digit"
        )
    if worker_id in RESERVED_IDS:
        raise InvalidTopicError(f"worker id {worker_id!r} is reserved: choose another, for example {worker_id}-host")
    return worker_id


def default_worker_id(hostname: str | None = None) -> str:
    """Derive a worker id from the hostname: dots become dashes, `-host` follows where that is reserved."""
    name = hostname if hostname is not None else socket.gethostname()
    candidate = re.sub(r"[^A-Za-z0-9_-]", "-", name).lstrip("-_")[:63] or "worker"
    return f"{candidate}-host" if candidate in RESERVED_IDS else candidate


class Channel(Enum):
    """What a worker's topic carries; the value is the part of the topic after the worker's id."""

    STATUS = "status"
    INFO = "info"
    METRICS = "metrics"
    EVENT = "event"
    COMMAND = "cmd"
    OUTPUT = "cmd/output"
    RESULT = "cmd/result"


# What a worker publishes; it reads its commands.
FROM_WORKER = frozenset(Channel) - {Channel.COMMAND}

# The group in which several masters share what comes once (MQTT 5 section 4.8.2).
SHARED_BY = "gpumon-masters"

# Home Assistant's own topics (MQTT discovery); they do not stand under gpumon's base. Its birth message stays where it
# is when the discovery prefix is set to another.
DISCOVERY_PREFIX = "homeassistant"
HOME_ASSISTANT_STATUS = "homeassistant/status"
_NOT_IN_DISCOVERY = re.compile(r"[^A-Za-z0-9_-]")

_CHANNELS = {channel.value: channel for channel in Channel}


@dataclass(frozen=True, slots=True)
class Topics:
    """Builds and reads the topics under one base, and those of Home Assistant's MQTT discovery under its prefix."""

    base: str = "gpumon"
    discovery_prefix: str = DISCOVERY_PREFIX

    def worker(self, worker_id: str, channel: Channel) -> str:
        """Return the topic of one worker's channel, `gpumon/<id>/<channel>`."""
        return f"{self.base}/{worker_id}/{channel.value}"

    def every_worker(self, channel: Channel) -> str:
        """Return the filter that matches this channel of every worker."""
        return f"{self.base}/+/{channel.value}"

    def discovery(self, worker_id: str, gpu: str = "") -> str:
        """Return the topic on which a worker, or its card with this uuid, is announced to Home Assistant."""
        card = f"_{_NOT_IN_DISCOVERY.sub('_', gpu)}" if gpu else ""
        return f"{self.discovery_prefix}/device/gpumon_{worker_id}{card}/config"

    def alert(self, worker_id: str, rule: str) -> str:
        """Return the retained topic on which the master says what a rule has found on a worker."""
        return f"{self.base}/{worker_id}/alert/{rule}"

    @property
    def every_alert(self) -> str:
        """The filter that matches every alert of every worker."""
        return f"{self.base}/+/alert/+"

    def read_alert(self, topic: str) -> tuple[str, str]:
        """Split an alert's topic into the worker's id and the rule's name.

        Raises InvalidTopicError: for a topic that is no alert's.
        """
        parts = topic.split("/")
        if len(parts) != 4 or parts[0] != self.base or parts[2] != "alert":
            raise InvalidTopicError(f"topic {topic!r} is no alert's topic under {self.base!r}")
        return check_worker_id(parts[1]), parts[3]

    @property
    def command_to_all(self) -> str:
        """The topic that every agent takes commands from."""
        return f"{self.base}/all/{Channel.COMMAND.value}"

    @property
    def audit(self) -> str:
        """The topic on which the embedded broker says who published an ad-hoc command."""
        return f"{self.base}/audit"

    def join_request(self, client_id: str) -> str:
        """Return the topic on which a stranger with this MQTT client id asks to join."""
        return f"{self.base}/join/{client_id}"

    def join_reply(self, client_id: str) -> str:
        """Return the topic on which that stranger is answered."""
        return f"{self.base}/join/{client_id}/reply"

    @property
    def every_join_request(self) -> str:
        """The filter that matches every stranger's question, and no answer."""
        return f"{self.base}/join/+"

    def master_status(self, instance: str) -> str:
        """Return the retained topic on which a master says that it is there."""
        return f"{self.base}/master/{instance}/status"

    @property
    def every_master_status(self) -> str:
        """The filter that matches the status of every master."""
        return self.master_status("+")

    def read_master(self, topic: str) -> str:
        """Return the instance whose status topic this is."""
        return topic.removeprefix(f"{self.base}/master/").removesuffix("/status")

    @staticmethod
    def shared(topic_filter: str) -> str:
        """Return what to subscribe to so that each message goes to one of several masters."""
        return f"$share/{SHARED_BY}/{topic_filter}"

    def read(self, topic: str) -> tuple[str, Channel]:
        """Split a worker's topic into its id and channel.

        Raises InvalidTopicError: for a topic that is no worker's, or whose id is not allowed.
        """
        base, _, rest = topic.partition("/")
        worker_id, _, tail = rest.partition("/")
        channel = _CHANNELS.get(tail)
        if base != self.base or channel is None:
            raise InvalidTopicError(f"topic {topic!r} is no worker's topic under {self.base!r}")
        return check_worker_id(worker_id), channel

    def is_command(self, topic: str) -> bool:
        """Tell whether agents take commands from this topic (one worker's `cmd`, or everybody's)."""
        base, _, rest = topic.partition("/")
        return base == self.base and rest.count("/") == 1 and rest.endswith("/cmd")
