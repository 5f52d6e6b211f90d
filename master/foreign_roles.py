"""The table "Who may do what" of the contract as roles of mosquitto's dynamic-security plugin; pure functions.

Every client of ours has the role `<base>:nothing-else`, asked last, so that nothing depends on what the plugin allows
by default. What is for one client alone (a worker's topics, an operator's limit, a join key's topics) is a role with
its name in it. Topics are compared level by level there: `<base>/<anything>/cmd` is an operator's also where that is no
worker's name, and a GPU's discovery topic is a worker's only once it has told which GPUs it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gpumon.roles import Principal, Role
from gpumon.topics import (
    FROM_WORKER,
    HOME_ASSISTANT_STATUS,
    RESERVED_IDS,
    Channel,
    Topics,
)
from master.dynamic_security import Acl, RoleOfClient

_GPU_UUID = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LAST = -2  # the plugin's own default for a role's priority is -1
_WINS = 1

Acls = frozenset[Acl]


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker tells of itself that access depends on."""

    labels: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedClient:
    """A client as it should be at the broker, with the roles that are its own."""

    roles: tuple[RoleOfClient, ...]
    own_roles: Mapping[str, Acls]
    clientid: str | None = None


class ForeignRoles:
    """Translates accounts under one base of all topics; roles carry the base in their names."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._base = topics.base

    @property
    def master(self) -> str:
        """The role of the account with which the master itself logs in."""
        return self._name("master")

    def is_ours(self, role: str) -> bool:
        """Tell whether gpumon has made this role."""
        return role.startswith(f"{self._base}:")

    def shared(self) -> dict[str, Acls]:
        """Return the roles that are there whoever has an account."""
        base, all_commands = self._base, self._topics.command_to_all
        everything = _publish("#") | _read("#") | _read("$SYS/#")
        hidden = {
            Acl(action, f"{base}/{first}/#", allow=False, priority=_WINS)
            for action in ("publishClientReceive", "subscribePattern")
            for first in ("join", "audit")
        }
        no_worker = {
            Acl("publishClientSend", f"{base}/{name}/cmd", allow=False, priority=_WINS)
            for name in RESERVED_IDS - {"all"}
        }
        return {
            self._name("nothing-else"): frozenset(
                {
                    Acl("publishClientSend", "#", allow=False),
                    Acl("publishClientReceive", "#", allow=False),
                    Acl("subscribePattern", "#", allow=False),
                    Acl("unsubscribePattern", "#"),
                }
            ),
            self.master: everything,
            self._name("admin"): everything,
            self._name("viewer"): _read(f"{base}/#") | _read(f"{self._topics.discovery_prefix}/#") | hidden,
            self._name("operator"): _publish(f"{base}/+/cmd") | no_worker,
            self._name("integration"): _publish(HOME_ASSISTANT_STATUS),
            self._name("worker"): _read_exactly(all_commands) | _read_exactly(HOME_ASSISTANT_STATUS),
        }

    def client(self, principal: Principal, told: Mapping[str, Told]) -> WantedClient:
        """Return how somebody should be at the broker; `told` is what each worker tells of itself."""
        if principal.role is Role.WORKER:
            return self._worker(principal.name, told.get(principal.name, Told()))
        if principal.role is Role.STRANGER:
            return self._stranger(principal.credential)
        names, own = self._persons_roles(principal, told)
        return self._client(names, own)

    def is_own(self, role: str) -> bool:
        """Tell whether this role of ours is for one client alone, so that it goes when that one goes."""
        return self.is_ours(role) and role not in self.shared()

    def _persons_roles(self, principal: Principal, told: Mapping[str, Told]) -> tuple[list[str], dict[str, Acls]]:
        if principal.role in (Role.ADMIN, Role.MASTER):
            return [principal.role.value], {}
        names = ["viewer", "integration"] if principal.role is Role.INTEGRATION else ["viewer"]
        if principal.may_command_all:
            return [*names, "operator"], {}
        if not principal.may_command_some:
            return names, {}
        limit = self._name("commands", principal.name)
        granted = [name for name, worker in told.items() if principal.may_command(worker.labels)]
        return names, {limit: _publish(*(self._topics.worker(name, Channel.COMMAND) for name in granted))}

    def _worker(self, worker_id: str, told: Told) -> WantedClient:
        topics = self._topics
        gpus = [uuid for uuid in told.gpus if _GPU_UUID.fullmatch(uuid)]
        slugs = {slug for uuid in gpus for slug in (uuid, uuid.lower().replace("-", "_"))}
        acls = (
            _publish(*(topics.worker(worker_id, channel) for channel in FROM_WORKER))
            | _publish(topics.discovery(worker_id), *(topics.discovery(worker_id, slug) for slug in slugs))
            | _read_exactly(topics.worker(worker_id, Channel.COMMAND))
            | _read_exactly(topics.worker(worker_id, Channel.STATUS))
        )
        return self._client(["worker"], {self._name("worker", worker_id): acls})

    def _stranger(self, key_id: str) -> WantedClient:
        client_id = stranger_client_id(key_id)
        acls = _publish(self._topics.join_request(client_id)) | _read_exactly(self._topics.join_reply(client_id))
        return self._client([], {self._name("join", key_id): acls}, client_id)

    def _client(self, shared: Iterable[str], own: Mapping[str, Acls], clientid: str | None = None) -> WantedClient:
        named = [RoleOfClient(self._name(name)) for name in shared] + [RoleOfClient(name) for name in own]
        return WantedClient((*named, RoleOfClient(self._name("nothing-else"), _LAST)), own, clientid)

    def _name(self, *parts: str) -> str:
        return ":".join((self._base, *parts))


def user_name(principal: Principal) -> str:
    """Return the user name at the broker: a join key has one of its own there, which no account can have."""
    return f"join:{principal.credential}" if principal.role is Role.STRANGER else principal.name


def stranger_client_id(key_id: str) -> str:
    """Return the one MQTT client id with which a join key can be used at a foreign broker."""
    return f"gpumon-join-{key_id}"


def _publish(*topics: str) -> Acls:
    return frozenset(Acl("publishClientSend", topic) for topic in topics)


def _read(topic_filter: str) -> Acls:
    return frozenset({Acl("publishClientReceive", topic_filter), Acl("subscribePattern", topic_filter)})


def _read_exactly(topic: str) -> Acls:
    return frozenset({Acl("publishClientReceive", topic), Acl("subscribeLiteral", topic)})
