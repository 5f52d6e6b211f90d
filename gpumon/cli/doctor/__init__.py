"""`gpumon doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpumon.address import parse_broker_address
from gpumon.cli.connection import DATABASE_SETTINGS, given_credentials, masters_way_in
from gpumon.cli.doctor.finding import Finding, Verdict, not_installed, wrong
from gpumon.cli.doctor.gpus import look_at_gpus
from gpumon.cli.doctor.machine import clock_against, look_at_machine
from gpumon.cli.doctor.master import look_at_master
from gpumon.cli.doctor.system import System
from gpumon.cli.doctor.way import look_at_door, look_at_way
from gpumon.cli.page_health import health_at
from gpumon.cli.reach import Reach, as_the_master_runs, known_reach
from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.errors import DOCS, GpumonError
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
HERE = "troubleshooting.md"
WAY = f"{HERE}#a-worker-does-not-appear"
MARKS = {Verdict.GOOD: "✓", Verdict.WARNING: "▲", Verdict.BAD: "✗", Verdict.UNKNOWN: "?"}


@dataclass(frozen=True, slots=True)
class Section:
    """Findings under a title; `see` is the section of the documents that says more of what is wrong among them."""

    title: str
    see: str
    findings: Iterable[Finding]


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
    for section in sections:
        if not arguments.json:
            print(section.title)
        is_well = True
        for finding in section.findings:
            found.append({"section": section.title, **asdict(finding), "see": f"{DOCS}{section.see}"})
            is_well &= finding.verdict in (Verdict.GOOD, Verdict.UNKNOWN)
            if not arguments.json:
                print(_line(finding), flush=True)
        if not is_well and not arguments.json:
            print(f"    More: {DOCS}{section.see}")
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
    yield Section(f"The way to {address}", WAY, look_at_way(address, credentials, cafile, []))
    probe = importlib.import_module("gpumon.cli.doctor.broker_probe").probe_broker
    found = probe(address, credentials, cafile, Topics(settings.mqtt.base))
    yield Section("What it can do for gpumon", "foreign-broker.md#other-brokers", found)


def _of_machine(settings: Settings) -> Iterator[Section]:
    data = DataFolder(Path(settings.data), database_address(settings.database))
    is_master = data.master_secret.exists()
    is_agent = not is_master or settings.agent.master is not None or Path(settings.agent.token_file).exists()
    system = System()
    gpus = "a-container-sees-no-gpu" if system.is_container else "a-worker-is-there-its-gpus-are-not"
    yield Section("This machine", f"{HERE}#disk-or-clock-are-not-well", look_at_machine(data.root))
    yield Section("GPUs", f"{HERE}#{gpus}", look_at_gpus(system, are_needed=is_agent))
    if is_master:
        yield Section(f"The master in {data.root}", f"{HERE}#a-master-is-not-well", _of_master(settings, data))
        reach = known_reach(settings, data)
        if data.reach.exists() and reach.address.tls:
            yield Section(f"What other machines reach: {reach.address}", WAY, _of_door(reach))
    if is_agent:
        yield Section("The agent here", WAY, _of_agent(settings))


def _of_master(settings: Settings, data: DataFolder) -> Iterator[Finding]:
    yield from look_at_master(settings, data)
    try:
        address, credentials, cafile = masters_way_in(as_the_master_runs(settings), data)
    except GpumonError as error:
        yield Finding("broker", Verdict.BAD, str(error))
        return
    yield from look_at_way(address, credentials, cafile, [Topics(settings.mqtt.base).every_worker(Channel.METRICS)])


def _of_door(reach: Reach) -> Iterator[Finding]:
    """Look at the way on which agents come, as far as no account is needed; others may know other names."""
    cafile = Path(reach.cafile) if reach.cafile else None
    for finding in look_at_door(reach.address, cafile):
        yield replace(finding, verdict=Verdict.WARNING) if finding.verdict is Verdict.BAD else finding


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
    yield from _clocks(address.host, settings.page.port)


def _clocks(host: str, page_port: int) -> Iterator[Finding]:
    """Compare this clock with that of the master's page, where it answers at the broker's address."""
    authority = f"[{host}]:{page_port}" if ":" in host else f"{host}:{page_port}"
    for scheme in ("https", "http"):
        health = health_at(f"{scheme}://{authority}")
        if health is not None and health.clock_ahead_s is not None:
            yield clock_against(health.clock_ahead_s, "the master's")
            return
