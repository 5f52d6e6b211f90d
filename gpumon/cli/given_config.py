"""The settings file that the command line or the environment names."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def given_config(arguments: argparse.Namespace) -> Path | None:
    """Return what `--config` or `GPUMON_CONFIG` gives, None where neither does."""
    given = getattr(arguments, "config", os.environ.get("GPUMON_CONFIG"))
    return Path(given) if given else None
