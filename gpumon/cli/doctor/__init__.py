"""`gpumon doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from gpumon.address import parse_broker_address
from gpumon.cli.connection import DATABASE_SETTINGS, given_credentials, masters_way_in
from gpumon.cli.doctor.finding import Finding, Verdict, not_installed, wrong
from gpumon.cli.doctor.gpus import System, look_at_gpus
from gpumon.cli.doctor.machine import look_at_machine
from gpumon.cli.doctor.master import look_at_master
from gpumon.cli.doctor.way import look_at_way
from gpumon.cli.reach import as_the_master_runs
from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.settings import Settings
from gpumon.topics import Channel, Topics

SETTINGS = (
    "agent.master",
    "agent.worker_id",
    "agent.token_file",
    "agent.username",
    "agent.password_file",
    "agent.cafile",
    "page.port",
    "mqtt.port",
    "mqtt.base",
    "broker.url",
    "broker.username",
    "broker.password_file",
    "broker.cafile",
    *DATABASE_SETTINGS,
)
MARKS = {Verdict.GOOD: "✓", Verdict.WARNING: "▲", Verdict.BAD: "✗", Verdict.UNKNOWN: "?"}
Section = tuple[str, Iterable[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what else there is to look at, and how to say it."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="try what another broker can do, with --username, --password-file and --cafile (leaves nothing behind)",
    )
    parser.add_argument("--json", action="store_true", help="for scripts: what was found as JSON")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Look at everything; the exit code is 1 where something is wrong."""
    logging.disable(logging.WARNING)  # what it would say stands among the findings
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `gpumon doctor | head` ends as other programs do
    sections = _of_broker(arguments.broker, settings) if arguments.broker else _of_machine(settings)
    found = []
    for title, findings in sections:
        if not arguments.json:
            print(f"{title}")
        for finding in findings:
            found.append({"section": title, **asdict(finding)})
            if not arguments.json:
                print(_line(finding), flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))
    bad = sum(finding["verdict"] == Verdict.BAD for finding in found)
    if not arguments.json:
        print(f"\n{bad} to mend" if bad else "\nnothing to mend")
    return 1 if bad else 0


def _line(finding: Finding) -> str:
    to_do = f"\n      {'':<18} -> {finding.to_do}" if finding.to_do else ""
    return f"  {MARKS[finding.verdict]} {finding.what:<18} {finding.found}{to_do}"


def _of_broker(url: str, settings: Settings) -> Iterator[Section]:
    """Return what is found of another broker: the way to it, and what it can do."""
    address = parse_broker_address(url)
    credentials, cafile = given_credentials(settings)
    yield f"The way to {address}", look_at_way(address, credentials, cafile, [])
    probe = importlib.import_module("gpumon.cli.doctor.broker_probe").probe_broker
    yield "What it can do for gpumon", probe(address, credentials, cafile, Topics(settings.mqtt.base))


def _of_machine(settings: Settings) -> Iterator[Section]:
    data = DataFolder(Path(settings.data), database_address(settings.database))
    is_master = data.master_secret.exists()
    is_agent = not is_master or settings.agent.master is not None or Path(settings.agent.token_file).exists()
    yield "This machine", look_at_machine(data.root)
    yield "GPUs", look_at_gpus(System(), are_needed=is_agent)
    if is_master:
        yield f"The master in {data.root}", _of_master(settings, data)
    if is_agent:
        yield "The agent here", _of_agent(settings)


def _of_master(settings: Settings, data: DataFolder) -> Iterator[Finding]:
    yield from look_at_master(settings, data)
    try:
        address, credentials, cafile = masters_way_in(as_the_master_runs(settings), data)
    except GpumonError as error:
        yield Finding("broker", Verdict.BAD, str(error))
        return
    yield from look_at_way(address, credentials, cafile, [Topics(settings.mqtt.base).every_worker(Channel.METRICS)])


def _of_agent(settings: Settings) -> Iterator[Finding]:
    what = "token"
    try:
        # Where only a master is installed, the agent is not.
        identity = importlib.import_module("agent.identity")
        membership = importlib.import_module("agent.membership")
    except ModuleNotFoundError as error:
        yield not_installed(what, error, "pip install 'gpumon[agent]'")
        return
    try:
        worker_id = identity.worker_id_of(settings)
        folder = DataFolder(Path(settings.data)).agent(worker_id)
        joined = membership.load_membership(folder)
        if joined is not None:
            settings = joined.completed(settings, folder)
        if settings.agent.master is None:
            to_do = "gpumon join-key on the master prints the line for gpumon agent --join - here"
            yield Finding("joined", Verdict.BAD, f"{worker_id} has joined no master, and --master names none", to_do)
            return
        credentials = identity.credentials_of(settings.agent, worker_id)
        address = parse_broker_address(settings.agent.master)
    except GpumonError as error:
        yield wrong(what, error)
        return
    yield Finding(what, Verdict.GOOD, f"{credentials.username} has one, for this user alone to read")
    topics = Topics(settings.mqtt.base)
    filters = [] if settings.agent.username else [topics.worker(worker_id, Channel.COMMAND), topics.command_to_all]
    cafile = Path(settings.agent.cafile) if settings.agent.cafile else None
    yield from look_at_way(address, credentials, cafile, filters)
