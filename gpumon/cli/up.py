"""`gpumon up`: broker, master with its page, and an agent where NVML finds a GPU, each in a process of its own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from agent.identity import worker_id_of
from gpumon.cli.connection import (
    BROKER_SETTINGS,
    DATABASE_SETTINGS,
    PEERS_SETTINGS,
    TLS_SETTINGS,
    data_folder,
    stop_on_signals,
)
from gpumon.cli.supervisor import Child, Supervisor, gpumon_command
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError, StartError
from gpumon.files import ensure_secret
from gpumon.queue_address import queue_address
from gpumon.settings import Settings
from gpumon.settings_sources import declarations

SETTINGS = (
    *TLS_SETTINGS,
    "page.port",
    "page.threads",
    "page.insecure_http",
    "page.origins",
    "page.max_connections_per_address",
    "mqtt.port",
    "mqtt.base",
    *BROKER_SETTINGS,
    *DATABASE_SETTINGS,
    *PEERS_SETTINGS,
    "agent.worker_id",
    "agent.interval_s",
    "agent.source",
    "agent.commands",
    "home_assistant.enabled",
)
DEMO_WORKERS = 12
MOST_DEMO_WORKERS = 500


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare `--demo`."""
    parser.add_argument(
        "--demo",
        type=int,
        nargs="?",
        const=DEMO_WORKERS,
        metavar="N",
        help=f"show N simulated workers ({DEMO_WORKERS} where N is not given), marked as simulated",
    )
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Keep the processes running until SIGTERM or SIGINT."""
    if arguments.demo is not None and not 1 <= arguments.demo <= MOST_DEMO_WORKERS:
        raise SettingError(f"--demo {arguments.demo} cannot be used: give a number from 1 to {MOST_DEMO_WORKERS}")
    _check_installed()
    queue_address(settings)  # so that what is wrong with it is said once
    data = data_folder(settings)
    for secret in (data.master_secret, data.session_secret):
        ensure_secret(
            secret
        )  # one that others may read is told of here, before a child could be started again and again
    _prepare_tls(settings, data)
    stop = stop_on_signals()
    environment = _environment(arguments)
    with Supervisor(stop) as supervisor:
        if settings.broker.url is None:
            supervisor.add(Child("broker", gpumon_command("broker"), environment))
        supervisor.add(Child("master", gpumon_command("master"), environment))
        # What follows takes a second at the first start, in which those two come up.
        if arguments.demo is not None:
            simulate = gpumon_command("demo-workers", "--count", str(arguments.demo))
            supervisor.add(Child("demo workers", simulate, environment))
        elif settings.broker.url is None and _has_gpu(settings):
            supervisor.add(_agent_of_this_machine(settings, data, environment))
        return supervisor.run()


def _check_installed() -> None:
    """Say once what is not there, rather than have each child say it. Raises SettingError."""
    missing = next((name for name in ("amqtt", "flask", "sqlalchemy") if find_spec(name) is None), None)
    if missing is not None:
        raise SettingError(f"gpumon up needs {missing}, which is not installed: pip install 'gpumon[master]'")


def _prepare_tls(settings: Settings, data: DataFolder) -> None:
    """Make or check the certificate for other machines once, so that what is wrong with it is said once."""
    if settings.host is None or (settings.page.insecure_http and settings.broker.url is not None):
        return
    from gpumon.cli.tls import server_tls  # noqa: PLC0415 - its import takes time, for other machines alone

    server_tls(settings, data).open()


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment in which children find the same settings as this process found."""
    known = declarations()
    given = {key: value for key, value in vars(arguments).items() if key in known and value is not None}
    flags = {
        known[key].variables[0]: ",".join(value) if isinstance(value, list) else value for key, value in given.items()
    }
    config = {"GPUMON_CONFIG": arguments.config} if "config" in arguments else {}
    return {**os.environ, **flags, **config}


def _has_gpu(settings: Settings) -> bool:
    if settings.agent.source == "simulated":
        return True
    # In a process of its own, so that the driver's library is not loaded into this one for good.
    probe = "from agent.samplers.choose import nvml_finds_a_gpu as found; raise SystemExit(not found())"
    finished = subprocess.run([sys.executable, "-c", probe], check=False, stderr=subprocess.DEVNULL)
    return finished.returncode == 0


def _agent_of_this_machine(settings: Settings, data: DataFolder, environment: dict[str, str]) -> Child:
    worker_id = worker_id_of(settings)
    token_file = data.token_file(worker_id)
    if not token_file.exists():
        add = gpumon_command("worker", "add", worker_id, "--if-missing")
        if subprocess.run(add, check=False, env=environment).returncode != 0:
            raise StartError("this machine's own worker could not be added: see the line above")
    master = f"mqtt://127.0.0.1:{settings.mqtt.port}"
    flags = ["--master", master, "--worker-id", worker_id, "--token-file", str(token_file)]
    return Child("agent", gpumon_command("agent", *flags), environment)
