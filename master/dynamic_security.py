"""mosquitto's dynamic-security plugin, spoken to over MQTT: its clients, its roles and what each role may do.

The plugin takes commands as JSON on `$CONTROL/dynamic-security/v1` and answers on `.../response`, to everybody who may
listen there; an answer is told apart by its correlation data. Its documentation is
https://mosquitto.org/documentation/dynamic-security/. mosquitto 2.0 has no patterns such as `%u` in a role's topics, so
whatever is for one client alone is a role of its own.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from gpumon.address import BrokerAddress
from gpumon.errors import GpumonError
from gpumon.link import Credentials, InboundMessage, MqttLink

CONTROL = "$CONTROL/dynamic-security/v1"
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
# mosquitto serves nobody else until it has run all commands of a message, each of which writes its whole file again:
# 45 ms with 1,000 workers of 8 GPUs each.
COMMANDS_A_MESSAGE = 10
PAGE = 100

Action = Literal[
    "publishClientSend", "publishClientReceive", "subscribeLiteral", "subscribePattern", "unsubscribePattern"
]


class DynamicSecurityError(GpumonError):
    """The plugin cannot be reached, or has refused a command; the message says which and why."""

    see = "foreign-broker.md#setting-it-up"


@dataclass(frozen=True, slots=True)
class Acl:
    """A line of a role: whether an action on the topics of a filter is allowed; the highest priority decides first."""

    acltype: Action
    topic: str
    allow: bool = True
    priority: int = 0


class RoleOfClient(msgspec.Struct, frozen=True):
    """A role that a client has; roles are asked from the highest priority down."""

    rolename: str
    priority: int = -1


class BrokerClient(msgspec.Struct, frozen=True):
    """A client as the plugin knows it; one with a `clientid` can log in with that one alone.

    `textdescription` is whatever its maker has written there.
    """

    username: str
    roles: list[RoleOfClient] = []
    clientid: str | None = None
    textdescription: str | None = None
    disabled: bool = False


class _Role(msgspec.Struct):
    rolename: str
    acls: list[dict[str, Any]] = []


class _Answer(msgspec.Struct):
    command: str
    correlationData: str | None = None  # noqa: N815 - the plugin's own name
    error: str | None = None
    data: dict[str, Any] = {}


class _Answers(msgspec.Struct):
    responses: list[_Answer]


class DynamicSecurity:
    """A connection to the plugin, made when it is first needed; any thread may ask, one at a time is served."""

    def __init__(self, address: BrokerAddress, credentials: Credentials, cafile: Path | None = None) -> None:
        self.address = address
        self.username = credentials.username
        self._way_in = (address, f"gpumon-accounts-{secrets.token_hex(8)}", credentials, cafile)
        self._link: MqttLink | None = None
        self._asking = threading.Lock()
        self._arrived = threading.Condition()
        self._answers: dict[str, _Answer] = {}

    def connect(self) -> None:
        """Connect where that is not done yet. Raises DynamicSecurityError: when the broker does not let this in."""
        with self._asking:
            self._listening_link()

    def stop(self) -> None:
        """Disconnect; safe to call twice."""
        with self._asking:
            link, self._link = self._link, None
            if link is not None:
                link.stop()

    def clients(self) -> dict[str, BrokerClient]:
        """Return all clients by user name. Raises DynamicSecurityError."""
        found = [msgspec.convert(row, BrokerClient) for row in self._listed("listClients", "clients")]
        return {client.username: client for client in found}

    def client(self, username: str) -> BrokerClient | None:
        """Return one client, None where there is none of this name. Raises DynamicSecurityError."""
        (answer,) = self.ask([{"command": "getClient", "username": username}], accepting=("Client not found",))
        return msgspec.convert(answer["client"], BrokerClient) if answer else None

    def roles(self) -> dict[str, frozenset[Acl]]:
        """Return what each role may do, by name. Raises DynamicSecurityError."""
        found = [msgspec.convert(row, _Role) for row in self._listed("listRoles", "roles")]
        return {role.rolename: frozenset(_acl(line) for line in role.acls) for role in found}

    def ask(self, commands: Sequence[dict[str, Any]], accepting: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Run commands in this order and return the data of their answers, empty for an error that is accepted.

        Raises DynamicSecurityError: when the plugin cannot be asked, or refuses one: those before it are done then.
        """
        with self._asking:
            data: list[dict[str, Any]] = []
            for start in range(0, len(commands), COMMANDS_A_MESSAGE):
                for answer in self._ask_some(commands[start : start + COMMANDS_A_MESSAGE]):
                    if answer.error is not None and answer.error not in accepting:
                        raise DynamicSecurityError(
                            f"the broker at {self.address} refused {answer.command}: {answer.error}"
                        )
                    data.append({} if answer.error is not None else answer.data)
            return data

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command for which the plugin may close this very connection before it has answered.

        Raises DynamicSecurityError: when it cannot be sent.
        """
        with self._asking:
            link, (tag,) = self._listening_link(), self._send([command])
            deadline = time.monotonic() + ANSWER_TIMEOUT_S
            while link.is_connected and tag not in self._answers and time.monotonic() < deadline:
                time.sleep(0.02)
            link.stop()
            self._link = None

    def _listed(self, command: str, what: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = {"command": command, "verbose": True, "count": PAGE, "offset": len(rows)}
            (data,) = self.ask([page])
            rows += data[what]
            if not data[what] or len(rows) >= data["totalCount"]:
                return rows

    def _ask_some(self, commands: Sequence[dict[str, Any]]) -> list[_Answer]:
        tags = self._send(commands)
        with self._arrived:
            if not self._arrived.wait_for(lambda: set(tags) <= set(self._answers), ANSWER_TIMEOUT_S):
                raise DynamicSecurityError(
                    f"the broker at {self.address} does not answer for its accounts: is mosquitto's dynamic-security "
                    f"plugin loaded there, and may {self.username} administer it?"
                )
            return [self._answers[tag] for tag in tags]

    def _send(self, commands: Sequence[dict[str, Any]]) -> list[str]:
        """Send commands in one message and return what their answers will carry."""
        link = self._listening_link()
        tags = [secrets.token_hex(8) for _ in commands]
        tagged = [{**command, "correlationData": tag} for command, tag in zip(commands, tags, strict=True)]
        with self._arrived:
            self._answers = {}
        # QoS 0: a command that waited for the connection to come back would be run when nobody expects it.
        if not link.publish(CONTROL, msgspec.json.encode({"commands": tagged})):
            raise DynamicSecurityError(f"the connection to the broker at {self.address} was lost: try again")
        return tags

    def _listening_link(self) -> MqttLink:
        if self._link is None:
            link = MqttLink(*self._way_in)
            link.subscribe(f"{CONTROL}/response", 0, self._received)
            link.start()
            self._link = link
        if not self._link.wait_listening(CONNECT_TIMEOUT_S):
            problem, link, self._link = self._link.problem, self._link, None
            link.stop()
            raise DynamicSecurityError(f"{problem}; accounts cannot be changed without it")
        return self._link

    def _received(self, message: InboundMessage) -> None:
        try:
            answers = msgspec.json.decode(message.payload, type=_Answers).responses
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # whatever it is, it answers nothing that was asked
        with self._arrived:
            self._answers.update({answer.correlationData: answer for answer in answers if answer.correlationData})
            self._arrived.notify_all()


def _acl(line: dict[str, Any]) -> Acl:
    return Acl(line["acltype"], line["topic"], line.get("allow", False), line.get("priority", 0))
