"""`gpumon broker`: the embedded MQTT broker alone, trusting the master's accounts in the same data folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from broker.service import run_broker
from gpumon.cli.connection import DATABASE_SETTINGS, TLS_SETTINGS, data_folder
from gpumon.files import ensure_secret
from gpumon.settings import Settings
from master.account_directory import AccountDirectory

SETTINGS = (
    *TLS_SETTINGS,
    "mqtt.port",
    "mqtt.base",
    "broker.max_packet_bytes",
    "broker.max_queued_messages",
    "broker.max_connections",
    "broker.max_connections_per_address",
    "broker.max_messages_per_s",
    "broker.max_bytes_per_s",
    *DATABASE_SETTINGS,
)


def add_arguments(_parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare nothing beyond settings."""
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    data = data_folder(settings)
    ensure_secret(data.master_secret)
    directory = AccountDirectory(data)
    if settings.host is None:
        run_broker(settings, directory)
        return 0
    from gpumon.cli.tls import LOOKED_AFTER_EVERY_S, server_tls  # noqa: PLC0415 - its import takes time, for other machines alone

    tls = server_tls(settings, data)
    run_broker(settings, directory, tls=tls.open(), housekeeping=[(LOOKED_AFTER_EVERY_S, tls.look_after)])
    return 0
