"""`gpumon backup`: everything that a master keeps, in one file, while it runs."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

from gpumon.cli.actor import this_user
from gpumon.cli.connection import DATABASE_SETTINGS, data_folder
from gpumon.cli.given_config import given_config
from gpumon.errors import SettingError
from gpumon.settings import Settings
from gpumon.settings_sources import settings_file
from master.backup.taking import take

SETTINGS = DATABASE_SETTINGS
# What a backup in a folder is called, and with --keep which files there are backups; times are UTC.
_NAME = "gpumon-%Y%m%d-%H%M%S.tar.gz"
_NAMED = re.compile(r"gpumon-\d{8}-\d{6}\.tar\.gz")


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare where the backup goes."""
    parser.add_argument("target", nargs="?", default=".", help="a folder, or the file to be written (default .)")
    parser.add_argument("--keep", type=int, metavar="N", help="delete all but the newest N backups of the folder")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Take it, and say where it is."""
    target = Path(arguments.target)
    folder = target if target.is_dir() else None
    if arguments.keep is not None and (folder is None or arguments.keep < 1):
        raise SettingError("--keep takes a number from 1 on, and a folder of backups that is there")
    data = data_folder(settings)
    used = settings_file(settings.data, given_config(arguments))
    other = None if used is None or used.resolve() == data.settings_file.resolve() else used
    path = target if folder is None else folder / time.strftime(_NAME, time.gmtime())
    manifest = take(data, path, this_user(), other)
    print(f"{path} holds {data.root} with its database, {path.stat().st_size / 1e6:.1f} MB: it is secret, keep it so")
    if data.server is not None:
        print(f"{len(manifest.files)} files and a dump of {data.server}")
    if folder is not None and arguments.keep is not None:
        _delete_all_but(folder, arguments.keep)
    return 0


def _delete_all_but(folder: Path, newest: int) -> None:
    backups = sorted(path for path in folder.iterdir() if _NAMED.fullmatch(path.name))
    for path in backups[:-newest]:
        path.unlink()
        print(f"{path} is deleted")
