"""`gpumon move-database`: what the data folder's SQLite file holds, into the PostgreSQL database of `database.url`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gpumon.cli.connection import DATABASE_SETTINGS, data_folder
from gpumon.settings import Settings
from master.store.moving import move

SETTINGS = DATABASE_SETTINGS


def add_arguments(_parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare nothing beyond settings."""
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Move it, and print what was moved."""
    data = data_folder(settings)
    move(data, lambda table, rows: print(f"{table}\t{rows}"))
    print(f"{data.database} is in {data.server} now, and stays as it is: start gpumon with database.url")
    return 0
