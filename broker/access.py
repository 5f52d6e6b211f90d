"""Who may publish and read which topics: the table "Who may do what" of the design, as pure functions.

Workers and strangers name their exact topics. Everybody else who reads, reads everything of ours except what is hidden
(joining, and the broker's word on commands); a filter with a wildcard may reach over something hidden, so `may_read` is
asked twice: for the filter when somebody subscribes, and for the topic of each message before it is delivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gpumon.errors import InvalidTopicError
from gpumon.roles import Principal, Role
from gpumon.topics import FROM_WORKER, HOME_ASSISTANT_STATUS, Channel, Topics

LabelsOf = Callable[[str], "Mapping[str, str] | None"]

_FROM_WORKER = frozenset(channel.value for channel in FROM_WORKER)
_CONFIG = "/config"
_HIDDEN = frozenset({"join", "audit"})

# `gpumon_a_b` may be worker `a_b` or a GPU `b` of worker `a`: so only an NVML UUID (`GPU-` or `MIG-` and 8-4-4-4-12
# hexadecimal digits, dashes made underscores or not) counts as the GPU's part, and a worker whose own id ends in one
# has no discovery topics: they would be those of another worker's GPU.
_GPU_SLUG = re.compile(r"_(?:gpu|mig)(?:[-_][0-9a-f]{8})(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}", re.IGNORECASE)
_GPU_SLUG_LENGTH = len("_gpu-01234567-0123-0123-0123-0123456789ab")

# A stranger's client id becomes a level of its topics, where `+`, `#` and `/` would reach other strangers' answers.
_STRANGERS_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def is_command_topic(topic: str, topics: Topics) -> bool:
    """Tell whether agents take commands from this topic."""
    return topics.is_command(topic) and topic != topics.join_request(Channel.COMMAND.value)


def is_never_retained(topic: str, topics: Topics) -> bool:
    """Tell whether the broker drops what is published retained: commands, and joining, which carries secrets."""
    base, _, rest = topic.partition("/")
    return is_command_topic(topic, topics) or (base == topics.base and rest.partition("/")[0] in _HIDDEN)


def is_strangers_client_id(client_id: str) -> bool:
    """Tell whether somebody who wants to join may have this client id."""
    return _STRANGERS_CLIENT_ID.fullmatch(client_id) is not None


def may_publish(
    principal: Principal,
    topic: str,
    topics: Topics,
    *,
    client_id: str = "",
    labels_of: LabelsOf = lambda _worker_id: None,
) -> bool:
    """Tell whether this principal, connected with this client id, may publish to a topic.

    `labels_of` returns a worker's labels, None for one that is not known.
    """
    role = principal.role
    if topic == topics.audit:
        return False  # the broker's own word, which nobody can put into its mouth
    if role in (Role.ADMIN, Role.MASTER):
        return True
    if role is Role.WORKER:
        return _is_of_worker(principal.name, topic, topics)
    if role is Role.STRANGER:
        return topic == topics.join_request(client_id) and is_strangers_client_id(client_id)
    if role is Role.INTEGRATION and topic == HOME_ASSISTANT_STATUS:
        return True
    return _may_command(principal, topic, topics, labels_of)


def may_read(principal: Principal, topic_filter: str, topics: Topics, *, client_id: str = "") -> bool:
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
    if role is Role.STRANGER:
        return topic_filter == topics.join_reply(client_id) and is_strangers_client_id(client_id)
    first, _, rest = topic_filter.partition("/")
    if first == topics.base:
        return rest.partition("/")[0] not in _HIDDEN
    return first == topics.discovery_prefix


def _is_of_worker(name: str, topic: str, topics: Topics) -> bool:
    own = f"{topics.base}/{name}/"
    if topic.startswith(own):
        return topic[len(own) :] in _FROM_WORKER
    start, end = topics.discovery(name).removesuffix(_CONFIG), _CONFIG
    if not (topic.startswith(start) and topic.endswith(end)):
        return False
    if _GPU_SLUG.fullmatch(name, max(len(name) - _GPU_SLUG_LENGTH, 0)):
        return False
    gpu = topic[len(start) : -len(end)]
    return not gpu or _GPU_SLUG.fullmatch(gpu) is not None


def _may_command(principal: Principal, topic: str, topics: Topics, labels_of: LabelsOf) -> bool:
    if not principal.may_command_some:
        return False
    if topic == topics.command_to_all:
        return principal.may_command_all
    try:
        worker_id, channel = topics.read(topic)
    except InvalidTopicError:
        return False
    if channel is not Channel.COMMAND:
        return False
    if principal.may_command_all:
        return True
    labels = labels_of(worker_id)
    return labels is not None and principal.may_command(labels)
