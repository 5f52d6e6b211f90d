"""Who may publish and read which topics: the table "Who may do what" of the design, as pure functions.

Workers name their exact topics. Everybody else who reads, reads everything of ours except what is hidden (joining, and
the broker's word on commands); a filter with a wildcard may reach over something hidden, so `may_read` is asked twice:
for the filter when somebody subscribes, and for the topic of each message before it is delivered.
"""

from __future__ import annotations

import re

from gpumon.errors import InvalidTopicError
from gpumon.roles import Principal, Role
from gpumon.topics import Channel, Topics

DISCOVERY_BASE = "homeassistant"
HOME_ASSISTANT_STATUS = f"{DISCOVERY_BASE}/status"

_FROM_WORKER = frozenset(
    {
        Channel.STATUS.value,
        Channel.INFO.value,
        Channel.METRICS.value,
        Channel.EVENT.value,
        Channel.OUTPUT.value,
        Channel.RESULT.value,
    }
)
_HIDDEN = frozenset({"join", "audit"})

# `gpumon_a_b` may be worker `a_b` or a GPU `b` of worker `a`: so only an NVML UUID (`GPU-` or `MIG-` and 8-4-4-4-12
# hexadecimal digits, dashes made underscores or not) counts as the GPU's part.
_GPU_SLUG = re.compile(r"_(?:gpu|mig)(?:[-_][0-9a-f]{8})(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}", re.IGNORECASE)


def is_command_topic(topic: str, topics: Topics) -> bool:
    """Tell whether agents take commands from this topic."""
    return topics.is_command(topic) and topic != f"{topics.base}/join/{Channel.COMMAND.value}"


def may_publish(principal: Principal, topic: str, topics: Topics) -> bool:
    """Tell whether this principal may publish to a topic."""
    role = principal.role
    if role is Role.WORKER:
        return _is_of_worker(principal.name, topic, topics)
    if role in (Role.ADMIN, Role.MASTER):
        return True
    if role is Role.OPERATOR:
        return _is_somebodys_command_topic(topic, topics)
    return role is Role.INTEGRATION and topic == HOME_ASSISTANT_STATUS


def may_read(principal: Principal, topic_filter: str, topics: Topics) -> bool:
    """Tell whether this principal may subscribe to a filter, or be handed a message of a topic."""
    role = principal.role
    if role in (Role.ADMIN, Role.MASTER):
        return True
    if role is Role.WORKER:
        name = principal.name
        return topic_filter in (
            topics.worker(name, Channel.COMMAND),
            topics.command_to_all,
            topics.worker(name, Channel.STATUS),
            HOME_ASSISTANT_STATUS,
        )
    first, _, rest = topic_filter.partition("/")
    if first == DISCOVERY_BASE:
        return True
    return first == topics.base and rest.partition("/")[0] not in _HIDDEN


def _is_of_worker(name: str, topic: str, topics: Topics) -> bool:
    own = f"{topics.base}/{name}/"
    if topic.startswith(own):
        return topic[len(own) :] in _FROM_WORKER
    start, end = f"{DISCOVERY_BASE}/device/gpumon_{name}", "/config"
    if not (topic.startswith(start) and topic.endswith(end)):
        return False
    gpu = topic[len(start) : -len(end)]
    return not gpu or _GPU_SLUG.fullmatch(gpu) is not None


def _is_somebodys_command_topic(topic: str, topics: Topics) -> bool:
    if topic == topics.command_to_all:
        return True
    try:
        return topics.read(topic)[1] is Channel.COMMAND
    except InvalidTopicError:
        return False
