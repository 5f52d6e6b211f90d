"""The command desk: runs commands on workers and keeps the record of every command."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.commands import DEFAULT_TIMEOUT_S
from gpumon.errors import GpumonError
from master.records import CommandRecord, Origin, OutputChunk


class CommandError(GpumonError):
    """A command that cannot be sent as asked; the message says why."""


class CommandDesk:
    """Sends commands and keeps their records; safe to use from any thread."""

    def run(
        self,
        command: str,
        worker_ids: Sequence[str],
        by: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        origin: Origin = "page",
    ) -> CommandRecord:
        """Send the command to these workers. Raises CommandError."""
        raise NotImplementedError

    def cancel(self, command_id: str, by: str, worker_ids: Sequence[str] | None = None) -> None:
        """Ask the workers (all unfinished targets by default) to end the command. Raises CommandError."""
        raise NotImplementedError

    def get(self, command_id: str) -> CommandRecord | None:
        """Return a command's record, None where there is none."""
        raise NotImplementedError

    def recent(self, limit: int = 50, before: float | None = None, worker_id: str | None = None) -> list[CommandRecord]:
        """Return records, newest first, created before `before`, with this worker among the targets."""
        raise NotImplementedError

    def output(self, command_id: str, worker_id: str) -> list[OutputChunk]:
        """Return a target's output so far, or as it was stored."""
        raise NotImplementedError
