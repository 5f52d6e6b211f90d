"""Tells the audit of `gpumon run` on the master's machine, before anything is sent."""

from __future__ import annotations

from gpumon.cli.actor import this_user
from gpumon.cli.fleet_run import RunError
from gpumon.commands import Command
from gpumon.datafolder import DataFolder
from master.audit import AuditTrail
from master.store.engine import Store, StoreError


def note_run(data: DataFolder, command: Command, worker_ids: list[str]) -> None:
    """Add the command to the audit of this data folder, where a master keeps one.

    Raises RunError: when that cannot be written, so that nothing is sent.
    """
    if data.server is None and not data.database.exists():
        return
    store, by = Store(data), this_user()
    try:
        AuditTrail(store).add(
            "command.run",
            who=by.who,
            origin=by.origin,
            subject=command.id,
            command=command.command,
            workers=worker_ids,
            timeout_s=command.timeout_s,
        )
    except StoreError as error:
        raise RunError(f"nothing was sent, since the audit cannot be written: {error}") from error
    finally:
        store.stop()
