"""`gpumon health`: does the master, agent or broker of this machine work? For the health checks of containers."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.settings import Settings

SETTINGS = ("host", "page.port", "page.insecure_http", "mqtt.port", "agent.worker_id")


class NotWorkingError(GpumonError):
    """What was asked after does not work; the message says why."""

    see = "troubleshooting.md#a-health-check-fails"


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what to ask after."""
    parser.add_argument(
        "part", choices=("master", "agent", "broker"), help="what is to work; gpumon up is asked after as master"
    )
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say that it works. Raises NotWorkingError: where it does not, and so the exit code is 1."""
    # Each imports what it needs and no more: this runs twice a minute.
    problem = {"master": _of_master, "agent": _of_agent, "broker": _of_broker}[arguments.part](settings)
    if problem is not None:
        raise NotWorkingError(problem)
    print(f"the {arguments.part} works")
    return 0


def _of_master(settings: Settings) -> str | None:
    health = importlib.import_module("gpumon.cli.page_health").page_health(settings, DataFolder(Path(settings.data)))
    if health is None:
        return "the page does not answer on this machine: see the master's log, or give its --port"
    return f"{'; '.join(health.problems)}: see the master's log" if health.problems else None


def _of_agent(settings: Settings) -> str | None:
    folder = DataFolder(Path(settings.data)).agents
    problem: str | None = importlib.import_module("agent.pulse").pulse_problem(folder, settings.agent.worker_id)
    return problem


def _of_broker(settings: Settings) -> str | None:
    problem: str | None = importlib.import_module("gpumon.cli.broker_health").broker_problem(settings)
    return problem
