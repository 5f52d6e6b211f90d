"""How the broker is reached: said by the running master, for subcommands that know nothing of its flags."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from gpumon.address import (
    BrokerAddress,
    address_for_agents,
    local_page_address,
    page_address,
    parse_broker_address,
)
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.files import write_atomically
from gpumon.settings import MqttSettings, Settings

logger = logging.getLogger(__name__)


class Reach(msgspec.Struct, frozen=True):
    """What a worker gives as `--master` and `--cafile` (None: an authority that its system trusts), and the base.

    `local_port` is that of the embedded broker on this machine, None with another broker; `page` is where people find
    the page, and `local_page` where this machine does.
    """

    master: str
    cafile: str | None
    base: str
    local_port: int | None = None
    page: str | None = None
    local_page: str | None = None

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is. Raises SettingError: when `broker.url` is no address."""
        return parse_broker_address(self.master)


def reach_by(settings: Settings, data: DataFolder) -> Reach:
    """Return how workers reach the broker of these settings. Raises SettingError: when `broker.url` is no address."""
    address = parse_broker_address(address_for_agents(settings))
    cafile = _cafile(settings, data) if address.tls else None
    local_port = settings.mqtt.port if settings.broker.url is None else None
    kept = str(Path(cafile).absolute()) if cafile else None
    return Reach(
        str(address), kept, settings.mqtt.base, local_port, page_address(settings), local_page_address(settings)
    )


def note_reach(settings: Settings, data: DataFolder) -> None:
    """Leave word for the subcommands; called by whoever serves with these settings."""
    write_atomically(data.reach, msgspec.json.encode(reach_by(settings, data)))


def known_reach(settings: Settings, data: DataFolder) -> Reach:
    """Return what the master has said at its last start, and where none has started yet what the settings say."""
    try:
        return msgspec.json.decode(data.reach.read_bytes(), type=Reach)
    except FileNotFoundError:
        return reach_by(settings, data)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        logger.warning("%s cannot be used, the settings are taken instead: %s", data.reach, error)
        return reach_by(settings, data)


def as_the_master_runs(settings: Settings) -> Settings:
    """Return settings with the port and base that the master on this machine has said, where none were given.

    For a subcommand that talks to the embedded broker of this machine and was told nothing else.
    """
    data = DataFolder(Path(settings.data))
    if settings.agent.master is not None or settings.broker.url is not None or not data.reach.exists():
        return settings
    reach, usual, given = known_reach(settings, data), MqttSettings(), settings.mqtt
    port = reach.local_port if given.port == usual.port and reach.local_port is not None else given.port
    base = reach.base if given.base == usual.base else given.base
    return msgspec.structs.replace(settings, mqtt=msgspec.structs.replace(given, port=port, base=base))


def _cafile(settings: Settings, data: DataFolder) -> str | None:
    if settings.broker.url is not None:
        return settings.broker.cafile
    if settings.tls.cert is not None:
        return settings.tls.ca
    return str(data.authority)


def address_given(text: str) -> BrokerAddress:
    """Read `--address`. Raises SettingError."""
    try:
        return parse_broker_address(text)
    except SettingError as error:
        raise SettingError(f"--address: {error}") from error
