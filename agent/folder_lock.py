"""Who uses an agent's folder: the agent that runs with it holds a lock in there, for as long as it runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from gpumon.errors import StartError
from gpumon.locks import FolderLock, alone

_LOCK = "lock"


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder for this agent alone: two with one client id would take the connection from each other.

    Raises StartError: when another agent holds it, or the folder cannot be written.
    """
    refusal = StartError(f"another agent already runs with {folder}: stop it, or give another --worker-id")
    return alone(folder / _LOCK, refusal)


def is_in_use(folder: Path) -> bool:
    """Tell whether an agent runs with this folder; one that cannot be looked at does not count."""
    lock = FolderLock(folder / _LOCK)
    try:
        is_free = lock.take(wait=False)
    except StartError:
        return False
    lock.free()
    return not is_free
