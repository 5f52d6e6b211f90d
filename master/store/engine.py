"""Opening the database."""

from __future__ import annotations

from gpumon.datafolder import DataFolder


class Store:
    """The master's database; constructing it does nothing, `start()` opens it."""

    def __init__(self, data: DataFolder) -> None:
        self.data = data

    def start(self) -> None:
        """Open the database. Raises StartError."""
        raise NotImplementedError

    def stop(self) -> None:
        """Close the database."""
        raise NotImplementedError
