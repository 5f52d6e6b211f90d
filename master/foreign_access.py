"""gpumon's accounts in mosquitto: told of each change, and set right as a whole.

mosquitto keeps its own hashes, so a password or token can reach it only at the moment it is made. The description of a
client there holds what stands for the secret (`Principal.credential`): so one that was changed without telling the
broker is found. Clients that have no role of ours belong to somebody else and are never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpumon.address import BrokerAddress
from gpumon.errors import SettingError
from gpumon.link import Credentials
from gpumon.roles import Principal
from gpumon.settings import Settings
from gpumon.topics import Topics
from master.account_mirror import MirrorRefusedError
from master.dynamic_security import BrokerClient, DynamicSecurity
from master.foreign_roles import Acls, ForeignRoles, Told, WantedClient, user_name

logger = logging.getLogger(__name__)

_THERE = ("Role already exists", "Client already exists")
_GONE = ("Client not found", "Role not found")


class ForeignAccessError(MirrorRefusedError):
    """An account that cannot be kept at the broker; the message says why."""

    see = "foreign-broker.md#what-is-different"


@dataclass(frozen=True, slots=True)
class Present:
    """What is at the broker: clients by user name, and what each role may do."""

    clients: Mapping[str, BrokerClient]
    roles: Mapping[str, Acls]


@dataclass(frozen=True, slots=True)
class Drift:
    """What differed at the broker, as user names.

    `changed` and `removed` (shut out) were set right; `missing`, whose present password the broker has not got, and
    `taken`, whose name is somebody else's there, are for a person.
    """

    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


class ForeignAccess:
    """The accounts' mirror in the dynamic-security plugin of the broker at `broker.url`.

    Every method may be called from any thread, and raises DynamicSecurityError where the broker does not answer.
    """

    def __init__(self, broker: DynamicSecurity, topics: Topics) -> None:
        self._broker = broker
        self._roles = ForeignRoles(topics)

    def stop(self) -> None:
        """Disconnect; safe to call twice."""
        self._broker.stop()

    def ready(self) -> None:
        """Connect where that is not done yet."""
        self._broker.connect()

    def put(self, principal: Principal, secret: str) -> None:
        """Make the client, or give it another secret; its connections are closed.

        Raises ForeignAccessError: when somebody else's client has that name.
        """
        name = user_name(principal)
        present = self._broker.client(name)
        if name == self._broker.username:
            raise ForeignAccessError(f"{name} is gpumon's own name at the broker: choose another name")
        if present is not None and not self._is_ours(present):
            raise ForeignAccessError(
                f"{name} is a client of the broker at {self._broker.address} that gpumon has not made: choose another "
                f"name, or remove it there first (mosquitto_ctrl ... dynsec deleteClient {name})"
            )
        wanted = self._roles.client(principal, {})
        left_behind = [] if present else [_modify_role(role, acls) for role, acls in wanted.own_roles.items()]
        described = {**_described(wanted), "textdescription": principal.credential}
        # Roles come by modifyClient: with those of createClient, mosquitto 2.0.11 does not close the connections of a
        # client whose role is changed, and keeps a pointer to a role that is deleted.
        self._broker.ask(
            [
                *self._missing_roles(wanted),
                *left_behind,
                {"command": "createClient", "username": name},
                {"command": "modifyClient", "username": name, "password": secret, **described},
                _enable(name),
            ],
            accepting=_THERE,
        )

    def change(self, principal: Principal) -> None:
        """Give a client the roles that go with the account now; one that is missing there stays so."""
        name = user_name(principal)
        present = self._broker.client(name)
        if present is None or not self._is_ours(present):
            return
        wanted = self._roles.client(principal, {})
        # A limit grants nothing until the master has seen which workers it stands for.
        emptied = [_modify_role(role, acls) for role, acls in wanted.own_roles.items()]
        described = {"command": "modifyClient", "username": name, **_described(wanted)}
        self._broker.ask([*self._missing_roles(wanted), *emptied, described], accepting=_THERE)

    def remove(self, principal: Principal) -> None:
        """Remove a client with the roles that were its own, and close its connections; one that is gone is fine."""
        name = user_name(principal)
        present = self._broker.client(name)
        if present is not None and self._is_ours(present):
            own = [role.rolename for role in present.roles if self._roles.is_own(role.rolename)]
            self._broker.ask([_delete_client(name), *(_delete_role(role) for role in own)], accepting=_GONE)

    def present(self) -> Present:
        """Return all clients and roles at the broker, somebody else's too."""
        return Present(self._broker.clients(), self._broker.roles())

    def set_right(self, present: Present, principals: Iterable[Principal], told: Mapping[str, Told]) -> Drift:
        """Make roles and clients at the broker what they should be, and tell what differed.

        `present` must have been read before the accounts: what is made in between is then left alone.
        """
        self._let_master_in()
        accounts = {user_name(principal): principal for principal in principals}
        wanted = {name: self._roles.client(principal, told) for name, principal in accounts.items()}
        ours = {name: client for name, client in present.clients.items() if self._is_ours(client)}
        roles = dict(self._roles.shared())
        for client in wanted.values():
            roles.update(client.own_roles)
        self._set_roles(present.roles, roles)
        changed = sorted(name for name in ours.keys() & wanted.keys() if _differs(ours[name], wanted[name]))
        gone = sorted(ours.keys() - accounts.keys())
        outdated = {name for name in ours.keys() & accounts.keys() if _is_outdated(ours[name], accounts[name])}
        self._broker.ask(
            [
                *({"command": "modifyClient", "username": name, **_described(wanted[name])} for name in changed),
                *(_shut_out(ours[name]) for name in (*gone, *sorted(outdated)) if not ours[name].disabled),
                *(_enable(name) for name in ours.keys() & accounts.keys() - outdated if ours[name].disabled),
                *(_delete_role(name) for name in present.roles if self._roles.is_own(name) and name not in roles),
            ],
            accepting=_GONE,
        )
        return Drift(
            changed=tuple(changed),
            removed=tuple(name for name in gone if not ours[name].disabled),
            missing=tuple(sorted(accounts.keys() - present.clients.keys() | outdated)),
            taken=tuple(sorted(accounts.keys() & present.clients.keys() - ours.keys())),
        )

    def _is_ours(self, client: BrokerClient) -> bool:
        is_own = client.username == self._broker.username
        return not is_own and any(self._roles.is_ours(role.rolename) for role in client.roles)

    def _let_master_in(self) -> None:
        """Give the account that administers the plugin gpumon's topics as well; it is cut off for that, once."""
        broker, name = self._broker, self._roles.master
        own = broker.client(broker.username)
        if own is None or any(role.rolename == name for role in own.roles):
            return
        broker.ask([_create_role(name, self._roles.shared()[name])], accepting=_THERE)
        broker.tell({"command": "addClientRole", "username": broker.username, "rolename": name})

    def _missing_roles(self, client: WantedClient) -> list[dict[str, Any]]:
        """Return commands that make this client's roles where they are not there yet."""
        every = {**self._roles.shared(), **client.own_roles}
        return [_create_role(role.rolename, every[role.rolename]) for role in client.roles]

    def _set_roles(self, present: Mapping[str, Acls], wanted: Mapping[str, Acls]) -> None:
        new = [_create_role(name, acls) for name, acls in wanted.items() if name not in present]
        changed = {name: acls for name, acls in wanted.items() if present.get(name, acls) != acls}
        masters = changed.pop(self._roles.master, None)
        self._broker.ask([*new, *(_modify_role(name, acls) for name, acls in changed.items())], accepting=_THERE)
        if masters is not None:
            self._broker.tell(_modify_role(self._roles.master, masters))


def foreign_access(
    settings: Settings, address: BrokerAddress, credentials: Credentials | None, cafile: Path | None
) -> ForeignAccess | None:
    """Return the mirror that the settings ask for, None without `broker.dynamic_security`.

    Raises SettingError: when it is asked for without another broker and an account there, or passwords would travel
    openly to another machine.
    """
    if not settings.broker.dynamic_security:
        return None
    if settings.broker.url is None or credentials is None:
        raise SettingError(
            "broker.dynamic_security keeps accounts at another broker: give it with --broker-url, --broker-username "
            "and --broker-password-file"
        )
    if not (address.is_protected or settings.page.insecure_http):
        raise SettingError(
            f"every new password and token would travel openly to {address}: use an address that begins with mqtts://, "
            "or say --insecure-http where that is a container's own network"
        )
    topics = Topics(settings.mqtt.base, settings.home_assistant.prefix)
    return ForeignAccess(DynamicSecurity(address, credentials, cafile), topics)


def _differs(present: BrokerClient, wanted: WantedClient) -> bool:
    return set(present.roles) != set(wanted.roles) or present.clientid != wanted.clientid


def _is_outdated(present: BrokerClient, principal: Principal) -> bool:
    """Tell whether the broker has another password of this account than the one that is kept here."""
    return present.textdescription != principal.credential


def _described(client: WantedClient) -> dict[str, Any]:
    roles = [{"rolename": role.rolename, "priority": role.priority} for role in client.roles]
    return {"roles": roles, "clientid": client.clientid or ""}


def _create_role(name: str, acls: Acls) -> dict[str, Any]:
    return {"command": "createRole", "rolename": name, "acls": _lines(acls)}


def _modify_role(name: str, acls: Acls) -> dict[str, Any]:
    return {"command": "modifyRole", "rolename": name, "acls": _lines(acls)}


def _lines(acls: Acls) -> list[dict[str, Any]]:
    ordered = sorted(acls, key=lambda acl: (acl.acltype, acl.topic))
    return [{"acltype": a.acltype, "topic": a.topic, "allow": a.allow, "priority": a.priority} for a in ordered]


def _shut_out(client: BrokerClient) -> dict[str, Any]:
    """Close the door without forgetting the password: what is gone may be back with the right data folder."""
    is_join_key = client.clientid is not None
    return _delete_client(client.username) if is_join_key else {"command": "disableClient", "username": client.username}


def _enable(name: str) -> dict[str, Any]:
    return {"command": "enableClient", "username": name}


def _delete_client(name: str) -> dict[str, Any]:
    return {"command": "deleteClient", "username": name}


def _delete_role(name: str) -> dict[str, Any]:
    return {"command": "deleteRole", "rolename": name}
