"""The master as a whole."""

from __future__ import annotations

from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.link import Credentials
from gpumon.settings import Settings
from master.accounts import Accounts
from master.bus import EventBus
from master.commands import CommandDesk
from master.fleet import Fleet
from master.store.engine import Store


class Master:
    """The fleet, the desk and the accounts over one store and one link; constructing it does nothing."""

    def __init__(
        self,
        settings: Settings,
        data: DataFolder,
        address: BrokerAddress,
        credentials: Credentials,
        cafile: Path | None = None,
    ) -> None:
        self.bus = EventBus()
        self.fleet = Fleet()
        self.commands = CommandDesk()
        self.accounts = Accounts(Store(data))
        self.instance = ""
        self._parts = (settings, address, credentials, cafile)

    @property
    def link_problem(self) -> str | None:
        """Why the broker is not connected, None while it is."""
        raise NotImplementedError

    def start(self) -> None:
        """Open the store, load the fleet, connect to the broker. Raises StartError."""
        raise NotImplementedError

    def stop(self) -> None:
        """Say goodbye, write what is pending, close the store."""
        raise NotImplementedError


def prepare(data: DataFolder) -> None:
    """Create the folder and its database, or bring it up to date; two processes may do so at once.

    Raises StartError.
    """
    raise NotImplementedError
