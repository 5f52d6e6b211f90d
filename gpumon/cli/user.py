"""`gpumon user`: people's accounts, for the page and MQTT alike."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from gpumon.cli.accounts import accounts_of
from gpumon.cli.connection import BROKER_SETTINGS, data_folder
from gpumon.errors import SettingError
from gpumon.roles import Role
from gpumon.settings import Settings

SETTINGS = BROKER_SETTINGS
PEOPLES_ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.INTEGRATION)


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare `add`, `passwd`, `remove` and `list`."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="add somebody")
    add.add_argument("name")
    add.add_argument("--role", choices=[role.value for role in PEOPLES_ROLES], default=Role.VIEWER.value)
    password = actions.add_parser("passwd", help="change somebody's password")
    password.add_argument("name")
    for action in (add, password):
        action.add_argument("--generate", action="store_true", help="make up a password and print it")
    remove = actions.add_parser("remove", help="remove somebody")
    remove.add_argument("name")
    actions.add_parser("list", help="show who there is")
    return list(actions.choices.values())


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Change or show people's accounts."""
    with accounts_of(settings, data_folder(settings)) as accounts:
        if arguments.action == "list":
            for user in accounts.users():
                print(f"{user.name}\t{user.role.value}")
        elif arguments.action == "remove":
            accounts.remove_user(arguments.name)
            print(f"{arguments.name} is removed")
        elif arguments.action == "passwd":
            _told(arguments, accounts.set_password(arguments.name, _new_password(arguments)))
        else:
            _told(arguments, accounts.add_user(arguments.name, Role(arguments.role), _new_password(arguments)))
    return 0


def _new_password(arguments: argparse.Namespace) -> str | None:
    if arguments.generate:
        return None
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\n")
        if not password:
            raise SettingError("no password on standard input: pipe one in, or use --generate")
        return password
    password = getpass.getpass(f"Password for {arguments.name}: ")
    if getpass.getpass("The same again: ") != password:
        raise SettingError("the two passwords differ: nothing was changed")
    return password


def _told(arguments: argparse.Namespace, password: str) -> None:
    if arguments.generate:
        print(f"{arguments.name}'s password: {password}")
    else:
        print(f"{arguments.name}'s password is set")
