"""`gpumon worker`: which workers may log in to the broker."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpumon.cli.accounts import accounts_of
from gpumon.cli.actor import this_user
from gpumon.cli.connection import BROKER_SETTINGS, DATABASE_SETTINGS, TLS_SETTINGS, data_folder
from gpumon.cli.reach import Reach, known_reach
from gpumon.cli.times import shown_time
from gpumon.datafolder import DataFolder
from gpumon.files import make_folder, write_secret
from gpumon.settings import Settings
from master.accounts import AccountError, Accounts, WorkerAccount

SETTINGS = ("mqtt.port", *TLS_SETTINGS, *BROKER_SETTINGS, *DATABASE_SETTINGS)


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
                print(f"{account.worker_id}\t{_since(account)}")
            return 0
        problems: list[str] = []
        for worker_id in arguments.worker_ids:
            with _noting(problems):  # those that follow are changed all the same
                _change(arguments, settings, data, accounts, worker_id)
    if problems:
        raise AccountError("; ".join(problems))
    return 0


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except AccountError as error:
        problems.append(str(error))


def _change(
    arguments: argparse.Namespace, settings: Settings, data: DataFolder, accounts: Accounts, worker_id: str
) -> None:
    if arguments.action == "remove":
        key = accounts.usable_key_of(worker_id)
        accounts.remove_worker(worker_id, this_user())
        print(f"{worker_id} is removed and cut off")
        if key is not None:
            print(f"it can join again with the key it has joined with: gpumon join-key revoke {key}", file=sys.stderr)
        return
    path: Path = arguments.token_file or data.token_file(worker_id)
    make_folder(path.parent)
    if arguments.action == "rotate":
        token = accounts.rotate_worker(worker_id, this_user())
    elif arguments.if_missing and path.exists() and _is_known(accounts, worker_id):
        return
    else:
        token = accounts.add_worker(worker_id, replace=arguments.if_missing, by=this_user())
    write_secret(path, token)
    if not getattr(arguments, "if_missing", False):
        line = _agent_line(known_reach(settings, data), worker_id, path)
        print(f"{worker_id}: its token is in {path}; start it with\n  {line}")


def _is_known(accounts: Accounts, worker_id: str) -> bool:
    return any(account.worker_id == worker_id for account in accounts.workers())


def _agent_line(reach: Reach, worker_id: str, path: Path) -> str:
    cafile = f" --cafile {reach.cafile}" if reach.cafile else ""
    return f"gpumon agent --master {reach.master}{cafile} --worker-id {worker_id} --token-file {path}"


def _since(account: WorkerAccount) -> str:
    if account.joined is None:
        return f"added {shown_time(account.created)}"
    return f"joined {shown_time(account.joined)} with {account.join_key_id}"
