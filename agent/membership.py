"""What an agent keeps of its joining, so that it needs neither `--join` nor `--master` again."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.errors import SettingError
from gpumon.files import write_atomically
from gpumon.joining import JoinLine
from gpumon.settings import MqttSettings, Settings

logger = logging.getLogger(__name__)

_FILE = "joined.json"
_CA_FILE = "ca.crt"


class Membership(msgspec.Struct, frozen=True):
    """Where the master's broker is, the CA that it is verified with (PEM; None for a public one), and the topics' base.

    Nothing in it is secret; the token is kept by itself.
    """

    master: str
    ca: str | None = None
    base: str = MqttSettings().base

    @classmethod
    def by(cls, line: JoinLine, settings: Settings) -> Membership:
        """Return what a join line makes of an agent; what the settings say themselves wins."""
        base = line.base if settings.mqtt.base == MqttSettings().base else settings.mqtt.base
        return cls(settings.agent.master or str(line.address), line.ca_pem, base)

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is. Raises SettingError: when that is no address."""
        return parse_broker_address(self.master)

    def completed(self, settings: Settings, folder: Path) -> Settings:
        """Return the settings with what they do not say themselves."""
        agent = settings.agent
        cafile = agent.cafile or (str(folder / _CA_FILE) if self.ca else None)
        base = self.base if settings.mqtt.base == MqttSettings().base else settings.mqtt.base
        return msgspec.structs.replace(
            settings,
            agent=msgspec.structs.replace(agent, master=agent.master or self.master, cafile=cafile),
            mqtt=msgspec.structs.replace(settings.mqtt, base=base),
        )

    def save(self, folder: Path) -> None:
        """Keep it in the agent's folder. Raises OSError."""
        if self.ca is not None:
            write_atomically(folder / _CA_FILE, self.ca.encode())
        write_atomically(folder / _FILE, msgspec.json.encode(self))


def load_membership(folder: Path) -> Membership | None:
    """Return what was kept in the agent's folder, None where it has not joined (or that cannot be read, which is told).

    The CA's certificate is written again where somebody has removed it.
    """
    path = folder / _FILE
    try:
        membership = msgspec.json.decode(path.read_bytes(), type=Membership)
        parse_broker_address(membership.master)
        if membership.ca is not None and not (folder / _CA_FILE).exists():
            write_atomically(folder / _CA_FILE, membership.ca.encode())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, SettingError) as error:
        logger.warning("%s cannot be used, join again or give --master: %s", path, error)
        return None
    return membership
