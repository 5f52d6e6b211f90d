"""`gpumon top`: the fleet in a terminal, live; or once, as a table or as JSON for scripts."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import msgspec

from gpumon.cli.connection import operators_way_in
from gpumon.cli.reach import as_the_master_runs
from gpumon.cli.top.columns import CARD_COLUMNS, WORKER_COLUMNS, Line, names_of
from gpumon.cli.top.feed import FleetFeed
from gpumon.cli.top.fleet import Order, View
from gpumon.cli.top.plain import table
from gpumon.cli.top.search import Search
from gpumon.errors import SettingError
from gpumon.settings import Settings
from gpumon.topics import Topics

SETTINGS = ("agent.master", "agent.username", "agent.password_file", "agent.cafile", "mqtt.port", "mqtt.base")


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what to show first, and in which way."""
    parser.add_argument("search", nargs="*", metavar="TERM", help="as on the page: user:NAME temp>80 free label:K=V")
    parser.add_argument("--gpus", action="store_true", help="a line for each card instead of each worker")
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help=f"by this column, -COLUMN for the other way round: {', '.join(names_of(WORKER_COLUMNS))}",
    )
    parser.add_argument("--once", action="store_true", help="print a table and end (so does a pipe)")
    parser.add_argument("--json", action="store_true", help="print what is known as JSON and end")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the fleet until somebody has seen enough."""
    view = _view(arguments)
    settings = as_the_master_runs(settings)
    logging.getLogger("gpumon.link").setLevel(logging.ERROR)  # what it would say is shown, or raised, here
    feed = FleetFeed(*operators_way_in(settings), Topics(settings.mqtt.base))
    try:
        feed.start()
        if arguments.json or arguments.once or not sys.stdout.isatty():
            feed.await_fleet()
            rows = feed.rows()
            print(_as_json(view.of(rows)) if arguments.json else table(view.of(rows), rows), end="")
            return 0
        return _interactive(feed, view)
    finally:
        feed.stop()


def _interactive(feed: FleetFeed, view: View) -> int:
    # Scripts that print once need no library for terminals, and do not wait for it.
    from gpumon.cli.top.app import TopApp  # noqa: PLC0415

    TopApp(feed, view).run()
    return 0


def _view(arguments: argparse.Namespace) -> View:
    columns = CARD_COLUMNS if arguments.gpus else WORKER_COLUMNS
    column = arguments.sort.lstrip("-") if arguments.sort else "worker"
    if column not in names_of(columns):
        raise SettingError(f"--sort {arguments.sort!r} is no column: there are {', '.join(names_of(columns))}")
    descending = next(c for c in columns if c.name == column).is_number
    order = Order(column, descending != (arguments.sort or "").startswith("-"))
    return View(is_cards=arguments.gpus, search=Search(" ".join(arguments.search)), order=order)


def _as_json(lines: Sequence[Line]) -> str:
    shown = [
        line.row
        if line.gpu is None
        else {"worker": line.row.id, "state": line.row.state, **msgspec.to_builtins(line.gpu)}
        for line in lines
    ]
    return msgspec.json.encode(shown).decode() + "\n"
