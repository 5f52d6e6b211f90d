"""`gpumon restore`: a backup in the place of what a master keeps, or a look whether it is whole."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from gpumon.cli.actor import this_user
from gpumon.cli.connection import DATABASE_SETTINGS, data_folder
from gpumon.settings import Settings
from master.backup.archive import Manifest
from master.backup.restoring import check, restore

SETTINGS = DATABASE_SETTINGS


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare which backup it is."""
    parser.add_argument("file", help="what gpumon backup has written")
    parser.add_argument("--check", action="store_true", help="read it to its end, and change nothing")
    return []


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Put it back, or check it, and say what it is."""
    path = Path(arguments.file)
    if arguments.check:
        print(f"{path} is whole: {_described(check(path))}")
        return 0
    data = data_folder(settings)
    restored = restore(path, data, this_user())
    print(f"{data.root} is as it was: {_described(restored.manifest)}")
    if restored.before is not None:
        print(f"what was there before is in {restored.before}: delete it once everything works")
    if restored.other_settings is not None:
        print(f"its settings, which lay outside the data folder, are in {restored.other_settings}: have them used")
    print("start gpumon: workers that joined or were rotated since then join again")
    return 0


def _described(manifest: Manifest) -> str:
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest.created))
    return f"of {made}, by gpumon {manifest.gpumon}, {manifest.size / 1e6:.1f} MB in {len(manifest.files)} files"
