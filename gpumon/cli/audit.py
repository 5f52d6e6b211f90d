"""`gpumon audit`: who did what, from where, on what; oldest first."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from gpumon.cli.connection import DATABASE_SETTINGS, data_folder
from gpumon.cli.times import duration_s
from gpumon.settings import Settings
from master.audit_reader import AuditEntry, AuditFilter, AuditReader, as_csv, as_json_lines
from master.store.engine import Store

SETTINGS = DATABASE_SETTINGS
LONGEST_SHOWN = 200


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what to look for and how to show it."""
    parser.add_argument("--since", type=duration_s, metavar="TIME", help="of the last 24h, 7d... (default: all)")
    parser.add_argument("--who", metavar="NAME", help="what this person or worker did")
    parser.add_argument("--action", metavar="ACTION", help="login, command.run..., or all below: command, user")
    parser.add_argument("--worker", metavar="ID", help="what was done to this worker")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a line of JSON each, with everything")
    form.add_argument("--csv", action="store_true", help="for a spreadsheet")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the audit."""
    store = Store(data_folder(settings))
    store.start()
    since = None if arguments.since is None else time.time() - arguments.since
    wanted = AuditFilter(arguments.who, arguments.action, arguments.worker, since)
    entries = AuditReader(store).all(wanted)
    form = as_json_lines if arguments.json else as_csv if arguments.csv else _as_text
    try:
        sys.stdout.writelines(form(entries))
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
    finally:
        store.stop()
    return 0


def _as_text(entries: Iterable[AuditEntry]) -> Iterator[str]:
    for entry in entries:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time))
        address = f" {entry.address}" if entry.address else ""
        parts = [moment, _plain(entry.who or "unknown"), f"({entry.origin}{_plain(address)})", entry.action]
        parts += [_plain(entry.subject or ""), _plain(json.dumps(entry.detail)) if entry.detail else ""]
        yield "  ".join(part for part in parts if part) + "\n"


def _plain(text: str) -> str:
    """Return the text for a terminal: no control characters, and not without end."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
