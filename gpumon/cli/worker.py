"""`gpumon worker`: which workers may log in to the broker."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gpumon.address import address_for_agents
from gpumon.cli.accounts import accounts_of
from gpumon.cli.connection import BROKER_SETTINGS, data_folder
from gpumon.datafolder import DataFolder
from gpumon.files import make_folder, write_secret
from gpumon.settings import Settings
from master.accounts import Accounts

SETTINGS = ("mqtt.port", *BROKER_SETTINGS)


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare `add`, `rotate`, `remove` and `list`."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in (("add", "let workers in, each with a token of its own"), ("rotate", "replace workers' tokens")):
        action = actions.add_parser(name, help=text)
        action.add_argument("worker_ids", nargs="+", metavar="ID")
        action.add_argument("--token-file", type=Path, help="where to write the token (one ID only)")
    actions.choices["add"].add_argument(
        "--if-missing", action="store_true", help="pass over workers that are known and whose token file is there"
    )
    remove = actions.add_parser("remove", help="shut workers out")
    remove.add_argument("worker_ids", nargs="+", metavar="ID")
    actions.add_parser("list", help="show who may log in")
    return list(actions.choices.values())


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Change or show the workers' accounts."""
    data = data_folder(settings)
    with accounts_of(settings, data) as accounts:
        if arguments.action == "list":
            for account in accounts.workers():
                print(account.worker_id)
            return 0
        for worker_id in arguments.worker_ids:
            if arguments.action == "remove":
                accounts.remove_worker(worker_id)
                print(f"{worker_id} is removed")
                continue
            path = _token_path(arguments, data, worker_id)
            if arguments.action == "rotate":
                token = accounts.rotate_worker(worker_id)
            elif arguments.if_missing and path.exists() and _is_known(accounts, worker_id):
                continue
            else:
                token = accounts.add_worker(worker_id, replace=arguments.if_missing)
            write_secret(path, token)
            if not getattr(arguments, "if_missing", False):
                print(f"{worker_id}: its token is in {path}; start it with\n  {_agent_line(settings, worker_id, path)}")
    return 0


def _is_known(accounts: Accounts, worker_id: str) -> bool:
    return any(account.worker_id == worker_id for account in accounts.workers())


def _token_path(arguments: argparse.Namespace, data: DataFolder, worker_id: str) -> Path:
    path: Path = arguments.token_file or data.token_file(worker_id)
    make_folder(path.parent)
    return path


def _agent_line(settings: Settings, worker_id: str, path: Path) -> str:
    return f"gpumon agent --master {address_for_agents(settings)} --worker-id {worker_id} --token-file {path}"
