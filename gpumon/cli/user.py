"""`gpumon user`: people's accounts, for the page, its API and MQTT alike."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from gpumon.cli.accounts import accounts_of
from gpumon.cli.actor import this_user
from gpumon.cli.connection import BROKER_SETTINGS, DATABASE_SETTINGS, data_folder
from gpumon.cli.times import duration_s, shown_time
from gpumon.errors import SettingError
from gpumon.roles import Principal, Role
from gpumon.settings import Settings
from master.accounts import Accounts
from master.api_tokens import ApiToken
from master.limits import limit_text

SETTINGS = (*BROKER_SETTINGS, *DATABASE_SETTINGS)
PEOPLES_ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.INTEGRATION)
LIMIT_HELP = "workers on which commands may run: all, none, or those with all of KEY=VALUE,..."


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="add somebody")
    change = actions.add_parser("change", help="give somebody another role or limit")
    password = actions.add_parser("passwd", help="change somebody's password, and end their sessions")
    remove = actions.add_parser("remove", help="remove somebody, with all tokens and sessions")
    token = actions.add_parser("token", help="make an API token, which a program shows in place of the password")
    logout = actions.add_parser("logout", help="end all of somebody's sessions on the page")
    for action in (add, change, password, remove, token, logout):
        action.add_argument("name")
    roles = [role.value for role in PEOPLES_ROLES]
    add.add_argument("--role", choices=roles, default=Role.VIEWER.value)
    change.add_argument("--role", choices=roles)
    for action in (add, change):
        action.add_argument("--commands-on", metavar="WHERE", help=LIMIT_HELP)
    for action in (add, password):
        action.add_argument("--generate", action="store_true", help="make up a password and print it")
    token.add_argument("--label", default="", help="what it is for")
    token.add_argument("--expires", type=duration_s, metavar="TIME", help="90d, 24h... (default: not by itself)")
    tokens = actions.add_parser("tokens", help="show API tokens")
    tokens.add_argument("name", nargs="?", help="of this person alone")
    revoke = actions.add_parser("revoke", help="end API tokens")
    revoke.add_argument("token_ids", nargs="+", metavar="TOKEN")
    actions.add_parser("list", help="show who there is")
    return list(actions.choices.values())


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Change or show people's accounts."""
    with accounts_of(settings, data_folder(settings)) as accounts:
        match arguments.action:
            case "list":
                for user in accounts.users():
                    limit = limit_text(Principal(user.name, user.role, user.commands_on))
                    print(f"{user.name}\t{user.role.value}\tcommands on {limit}")
            case "tokens":
                for token in accounts.tokens.of(arguments.name):
                    print("\t".join(_described(token)))
            case _:
                _change(arguments, accounts)
    return 0


def _change(arguments: argparse.Namespace, accounts: Accounts) -> None:
    by = this_user()
    match arguments.action:
        case "add":
            password, limit = _new_password(arguments), arguments.commands_on
            _tell(arguments, accounts.add_user(arguments.name, Role(arguments.role), password, limit, by))
        case "passwd":
            _tell(arguments, accounts.set_password(arguments.name, _new_password(arguments), by))
        case "change":
            role = Role(arguments.role) if arguments.role else None
            if role is None and arguments.commands_on is None:
                raise SettingError("nothing to change: give --role, --commands-on or both")
            user = accounts.change_user(arguments.name, role, arguments.commands_on, by)
            limit = limit_text(Principal(user.name, user.role, user.commands_on))
            print(f"{user.name} is {user.role.value} now, commands on {limit}")
        case "remove":
            accounts.remove_user(arguments.name, by)
            print(f"{arguments.name} is removed")
        case "logout":
            ended = accounts.sessions.end_all(arguments.name, by)
            print(f"{arguments.name}: {ended} {'session' if ended == 1 else 'sessions'} ended")
        case "token":
            _, token = accounts.tokens.make(arguments.name, arguments.label, arguments.expires, by)
            print(token)
        case "revoke":
            for token_id in arguments.token_ids:
                accounts.tokens.revoke(token_id, by=by)
                print(f"{token_id} is revoked")


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


def _tell(arguments: argparse.Namespace, password: str) -> None:
    if arguments.generate:
        print(f"{arguments.name}'s password: {password}")
    else:
        print(f"{arguments.name}'s password is set")


def _described(token: ApiToken) -> tuple[str, ...]:
    ends = "until revoked" if token.expires is None else f"until {shown_time(token.expires)}"
    used = "not used at the API yet" if token.last_used is None else f"last used {shown_time(token.last_used)}"
    return token.id, token.user_name, token.label, ends, used
