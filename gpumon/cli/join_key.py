"""`gpumon join-key`: one line that lets a new machine in."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpumon.cli.accounts import account_mirror
from gpumon.cli.actor import this_user
from gpumon.cli.connection import BROKER_SETTINGS, DATABASE_SETTINGS, TLS_SETTINGS, data_folder
from gpumon.cli.join_line import check_can_join, join_line
from gpumon.cli.reach import Reach, address_given, known_reach
from gpumon.cli.times import duration_s, shown_time
from gpumon.datafolder import DataFolder
from gpumon.errors import SecretFileError, SettingError, StartError
from gpumon.files import read_secret, write_secret
from gpumon.joining import JoinLineError, parse_join_line
from gpumon.settings import Settings
from master.join_keys import JoinKey, JoinKeys
from master.prepare import prepare
from master.store.engine import Store

SETTINGS = ("mqtt.port", "mqtt.base", *TLS_SETTINGS, *BROKER_SETTINGS, *DATABASE_SETTINGS)


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what a key is for, and `list` and `revoke`."""
    parser.add_argument("--uses", type=int, default=1, metavar="N", help="machines that may join with it (default 1)")
    parser.add_argument(
        "--expires", type=duration_s, default="24h", metavar="TIME", help="30m, 24h, 7d... (default 24h)"
    )
    parser.add_argument("--worker-id", metavar="ID", help="the one worker that may join with it; any by default")
    parser.add_argument(
        "--replace", action="store_true", help="give a known worker a new token, and cut off who has the old one"
    )
    parser.add_argument("--address", metavar="mqtts://HOST:PORT", help="where the new machine finds the broker")
    parser.add_argument(
        "--keep-in",
        type=Path,
        metavar="FILE",
        help="write the line to this file (mode 0600); one that is there stays while it counts, or when it has let a "
        "machine in (not with --replace)",
    )
    actions = parser.add_subparsers(dest="action")
    listing = actions.add_parser("list", help="show the keys of the last 30 days")
    revoke = actions.add_parser("revoke", help="end keys; workers that have joined with them stay")
    revoke.add_argument("key_ids", nargs="+", metavar="KEY")
    return [listing, revoke]


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make, list or revoke keys."""
    data = data_folder(settings)
    with _join_keys(settings, data) as keys:
        if arguments.action == "list":
            for key in keys.all():
                print("\t".join(_described(key)))
        elif arguments.action == "revoke":
            for key_id in arguments.key_ids:
                keys.revoke(key_id, this_user())
                print(f"{key_id} is revoked")
        else:
            _make(arguments, settings, data, keys)
    return 0


def _make(arguments: argparse.Namespace, settings: Settings, data: DataFolder, keys: JoinKeys) -> None:
    if settings.broker.dynamic_security and arguments.uses != 1:
        raise SettingError(
            "machines that share a key could read each other's tokens at mosquitto: make a join key for each machine"
        )
    if arguments.keep_in is not None and not arguments.replace and _has_done(arguments.keep_in, keys):
        return
    reach = _reach(arguments, settings, data)
    join_line(settings, reach, None, "to-see-whether-a-line-can-be-made")
    made, secret = keys.make(
        this_user(),
        uses=arguments.uses,
        lifetime_s=arguments.expires,
        worker_id=arguments.worker_id,
        replaces=arguments.replace,
    )
    line = join_line(settings, reach, made, secret)
    if arguments.keep_in is not None:
        _keep(arguments.keep_in, line)
        return
    print(line, flush=True)
    if sys.stderr.isatty():
        print(_how_to_use(made, reach), file=sys.stderr)


def _has_done(path: Path, keys: JoinKeys) -> bool:
    """Tell whether the line in a file lets a machine in, or has done so; False for what is no line of this master."""
    try:
        key = keys.known(parse_join_line(read_secret(path)).key)
    except (SecretFileError, JoinLineError):
        return False
    return key is not None and (key.is_usable or key.uses_left == 0)


def _keep(path: Path, line: str) -> None:
    try:
        write_secret(path, line)
    except OSError as error:
        raise StartError(f"{path} cannot be written: {error.strerror}") from error


def _reach(arguments: argparse.Namespace, settings: Settings, data: DataFolder) -> Reach:
    check_can_join(settings)
    reach = known_reach(settings, data)
    if arguments.address is None:
        return reach
    address = address_given(arguments.address)
    own = str(data.authority) if data.authority.exists() and settings.broker.url is None else None
    cafile = reach.cafile or own
    return Reach(str(address), cafile if address.tls else None, reach.base)


def _how_to_use(key: JoinKey, reach: Reach) -> str:
    name = f" --worker-id {key.worker_id}" if key.worker_id else ""
    times = "once" if key.uses_left == 1 else f"{key.uses_left} times"
    lines = [f"Good {times} until {shown_time(key.expires)}. On the new machine, run this and paste the line above:"]
    lines += [f"  gpumon agent{name} --join -"]
    if not reach.address.tls:
        lines += ["It leads to this machine alone: start gpumon up with --host ADDRESS to let others join."]
    return "\n".join(lines)


def _described(key: JoinKey) -> tuple[str, ...]:
    if key.is_usable:
        state = f"{key.uses_left} {'use' if key.uses_left == 1 else 'uses'} left"
    else:
        state = "expired" if key.uses_left else "used up"
    wanted = key.worker_id or "any worker"
    return (
        key.id,
        state,
        f"until {shown_time(key.expires)}",
        f"for {wanted}{', replaces' if key.replaces else ''}",
        f"by {key.created_by}",
    )


@contextlib.contextmanager
def _join_keys(settings: Settings, data: DataFolder) -> Iterator[JoinKeys]:
    prepare(data)
    store = Store(data)
    with account_mirror(settings, data) as mirror:
        try:
            yield JoinKeys(store, mirror)
        finally:
            store.stop()
