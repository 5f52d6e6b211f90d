"""`gpumon run`: a command on one worker or on many; output as it is written, identical outputs gathered at the end."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from gpumon.cli.connection import DATABASE_SETTINGS, operators_way_in
from gpumon.cli.fleet_run import FleetRun, WorkerRun, Wrote
from gpumon.cli.gather import as_json, gathered, summary
from gpumon.cli.prefixed import LinePrinter
from gpumon.cli.progress import Progress
from gpumon.cli.reach import as_the_master_runs
from gpumon.commands import DEFAULT_TIMEOUT_S, MAX_COMMAND_BYTES, MAX_TIMEOUT_S, Command, CommandResult, new_command_id
from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.settings import Settings
from gpumon.topics import Topics, check_worker_id

SETTINGS = (
    "agent.master",
    "agent.username",
    "agent.password_file",
    "agent.cafile",
    "mqtt.port",
    "mqtt.base",
    *DATABASE_SETTINGS,
)


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare whom to run it on, how long, and how to show the output."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-w", "--worker", metavar="ID[,ID...]", action="append", help="these workers")
    where.add_argument("--all", action="store_true", help="every worker that is online")
    where.add_argument(
        "--label", metavar="K=V", action="append", help="online workers with this label (with all given)"
    )
    parser.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="end it after this (default 60)"
    )
    parser.add_argument(
        "-b", "--gather", action="store_true", help="show no output before the end, then identical outputs once"
    )
    parser.add_argument("--json", action="store_true", help="for scripts: how it ended on each worker, as JSON")
    parser.add_argument("command", nargs="+", metavar="CMD", help="the command, after --; words are joined by spaces")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Send the command, show what comes back, and return 0 only if it succeeded everywhere.

    With one worker the exit code is the command's own.
    """
    command = _command(arguments)
    logging.getLogger("gpumon.link").setLevel(logging.ERROR)  # what it would say is raised here as an error
    settings = as_the_master_runs(settings)
    fleet = FleetRun(*operators_way_in(settings), Topics(settings.mqtt.base))
    try:
        fleet.start()
        worker_ids = _chosen(arguments, fleet)
        missing = fleet.missing(worker_ids) if arguments.worker else {}
        for worker_id, reason in missing.items():
            print(f"{worker_id}: {reason}", file=sys.stderr)
        runs = {worker_id: WorkerRun(worker_id) for worker_id in worker_ids if worker_id not in missing}
        if settings.agent.master is None and runs:
            _audit(settings, command, list(runs))
        command = msgspec.structs.replace(command, expires_at=time.time() + command.timeout_s)
        _followed(fleet, command, runs, arguments)
    finally:
        fleet.stop()
    return _exit_code(runs, missing)


def _audit(settings: Settings, command: Command, worker_ids: list[str]) -> None:
    """Tell the audit of a command that goes out with the master's own secret; elsewhere the broker tells of it."""
    # Where there is no master there is no database either, nor what reads one.
    from gpumon.cli.run_audit import note_run  # noqa: PLC0415

    note_run(DataFolder(Path(settings.data), database_address(settings.database)), command, worker_ids)


def _command(arguments: argparse.Namespace) -> Command:
    text = " ".join(arguments.command)
    if not 0 < arguments.timeout <= MAX_TIMEOUT_S:
        raise SettingError(f"--timeout {arguments.timeout:g} cannot be used: give seconds up to {MAX_TIMEOUT_S:.0f}")
    if not text.strip() or len(text.encode()) > MAX_COMMAND_BYTES // 2:
        raise SettingError(f"the command is empty or longer than {MAX_COMMAND_BYTES // 2} bytes")
    return Command(
        id=new_command_id(),
        command=text,
        timeout_s=arguments.timeout,
        by=getpass.getuser(),
    )


def _chosen(arguments: argparse.Namespace, fleet: FleetRun) -> list[str]:
    if arguments.worker:
        named = [worker_id for item in arguments.worker for worker_id in item.split(",") if worker_id]
        return [check_worker_id(worker_id) for worker_id in dict.fromkeys(named)]
    labels = {}
    for item in arguments.label or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise SettingError(f"--label {item!r} cannot be used: expected KEY=VALUE")
        labels[key] = value
    online = fleet.online_workers(labels)
    if not online:
        raise SettingError("no worker is online" + (f" with {', '.join(arguments.label)}" if labels else ""))
    return online


def _followed(fleet: FleetRun, command: Command, runs: Mapping[str, WorkerRun], arguments: argparse.Namespace) -> None:
    is_late = arguments.gather or arguments.json  # shown at the end
    printer = Progress(len(runs), sys.stderr) if is_late else LinePrinter(list(runs), sys.stdout, sys.stderr)
    try:
        fleet.send(command, list(runs))
        _shown(fleet, command, runs, printer)
    except KeyboardInterrupt:
        waiting = [worker_id for worker_id, run in runs.items() if run.result is None]
        print(f"\ncancelling on {len(waiting)} workers; once more to leave now", file=sys.stderr)
        fleet.cancel(command, waiting)
        _shown(fleet, command, runs, printer)
    if arguments.json:
        print(as_json(runs))
        return
    if arguments.gather:
        print(gathered(runs), end="")
    if len(runs) > 1:
        print(summary(runs), file=sys.stderr)


def _shown(fleet: FleetRun, command: Command, runs: Mapping[str, WorkerRun], printer: LinePrinter | Progress) -> None:
    for arrival in fleet.follow(command, runs):
        if isinstance(arrival, Wrote):
            printer.wrote(arrival.worker_id, arrival.output)
        else:
            printer.ended(arrival.worker_id, _said_of(arrival.worker_id, arrival.result))
    printer.close()


def _said_of(worker_id: str, result: CommandResult) -> str:
    """Return what is told of an end that was no success."""
    if result.state == "finished" and result.exit_code == 0:
        return ""
    how = f"exit code {result.exit_code}" if result.state == "finished" else result.state
    problem = f": {result.problem}" if result.problem else ""
    return f"{worker_id}: {how}{problem}"


def _exit_code(runs: Mapping[str, WorkerRun], missing: Mapping[str, str]) -> int:
    results = [run.result for run in runs.values()]
    if len(results) == 1 and not missing:
        result = results[0]
        if result is not None and result.state == "finished" and result.exit_code is not None:
            # As a shell does: a signal is 128 and its number.
            return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code
    succeeded = all(r is not None and r.state == "finished" and r.exit_code == 0 for r in results)
    return 0 if succeeded and results and not missing else 1
