"""`gpumon demo-workers`: simulated workers with accounts of their own; `gpumon up --demo` starts it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from agent.demo import demo_worker_ids, run_demo
from gpumon.cli.accounts import accounts_of
from gpumon.cli.agent import with_command_list
from gpumon.cli.connection import data_folder, stop_on_signals
from gpumon.settings import Settings

SETTINGS = ("mqtt.port", "mqtt.base", "agent.interval_s")


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare `--count`."""
    parser.add_argument("--count", type=int, required=True, metavar="N", help="how many workers to simulate")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Simulate until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    with accounts_of(settings, data_folder(settings)) as accounts:
        tokens = {id_: accounts.add_worker(id_, replace=True) for id_ in demo_worker_ids(arguments.count)}
    run_demo(with_command_list(settings), tokens, stop)
    return 0
