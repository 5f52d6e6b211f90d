"""How the command line reaches the broker: the master's own way in, or the one that flags give."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.database_address import database_address
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.files import ensure_secret, make_folder, read_secret
from gpumon.folder_swap import finish
from gpumon.link import Credentials
from gpumon.settings import Settings

# What other machines are served with, and what they are told.
TLS_SETTINGS = ("host", "mqtt.tls_port", "tls.cert", "tls.key", "tls.ca", "tls.names")
MASTER_USER = "master"

# What a subcommand takes that reaches the master's broker, or changes accounts.
BROKER_SETTINGS = (
    "broker.url",
    "broker.username",
    "broker.password_file",
    "broker.cafile",
    "broker.dynamic_security",
)

# What a subcommand takes that opens the database.
DATABASE_SETTINGS = ("database.url", "database.password_file", "database.max_connections")

# What a master takes that shares its fleet with others.
PEERS_SETTINGS = ("socketio.queue", "socketio.queue_password_file", "socketio.queue_cafile")


def data_folder(settings: Settings) -> DataFolder:
    """Return the data folder, made where it is not there yet, with the database that goes with it.

    Raises StartError: when it cannot be written; SettingError: when `database.url` cannot be used.
    """
    server = database_address(settings.database)
    folder = make_folder(Path(settings.data))
    finish(folder)  # what `gpumon restore` had no time to
    return DataFolder(folder, server)


def masters_way_in(settings: Settings, data: DataFolder) -> tuple[BrokerAddress, Credentials | None, Path | None]:
    """Return the address, credentials and CA with which the master reaches its broker, embedded or foreign.

    Raises SettingError, SecretFileError: when `broker.url` or its password cannot be used.
    """
    if settings.broker.url is None:
        secret = ensure_secret(data.master_secret)
        return BrokerAddress("127.0.0.1", settings.mqtt.port, tls=False), Credentials(MASTER_USER, secret), None
    cafile = Path(settings.broker.cafile) if settings.broker.cafile else None
    credentials = _credentials(settings.broker.username, settings.broker.password_file, "broker.")
    return parse_broker_address(settings.broker.url), credentials, cafile


def operators_way_in(settings: Settings) -> tuple[BrokerAddress, Credentials | None, Path | None]:
    """Return the way in that `--master` and its companions give; without them that of the master on this machine.

    Raises SettingError, SecretFileError: when neither can be used.
    """
    if settings.agent.master is None:
        data = DataFolder(Path(settings.data))
        if settings.broker.url is None and not data.master_secret.exists():
            raise SettingError(f"no master keeps its data in {data.root}: give --data, or the master with --master")
        return masters_way_in(settings, data)
    return parse_broker_address(settings.agent.master), *given_credentials(settings)


def given_credentials(settings: Settings) -> tuple[Credentials | None, Path | None]:
    """Return what --username and --password-file give, and --cafile; never the master's own secret.

    Raises SettingError, SecretFileError: when one of the first two is missing, or cannot be read.
    """
    credentials = _credentials(settings.agent.username, settings.agent.password_file, "--")
    return credentials, Path(settings.agent.cafile) if settings.agent.cafile else None


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def _credentials(username: str | None, password_file: str | None, prefix: str) -> Credentials | None:
    if username is None and password_file is None:
        return None
    if username is None or password_file is None:
        raise SettingError(f"{prefix}username and {prefix}password-file go together: one of them is missing")
    return Credentials(username, read_secret(Path(password_file)))
