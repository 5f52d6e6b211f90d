"""`gpumon broker`: the embedded MQTT broker alone, trusting the master's accounts in the same data folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from broker.service import run_broker
from gpumon.cli.connection import data_folder
from gpumon.files import ensure_secret
from gpumon.settings import Settings
from master.account_directory import AccountDirectory

SETTINGS = ("mqtt.port", "mqtt.base", "broker.max_packet_bytes", "broker.max_queued_messages")


def add_arguments(_parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare nothing beyond settings."""
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    data = data_folder(settings)
    ensure_secret(data.master_secret)
    run_broker(settings, AccountDirectory(data))
    return 0
