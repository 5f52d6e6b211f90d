"""Who uses an agent's folder: the agent that runs with it holds a lock in there, for as long as it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gpumon.errors import StartError
from gpumon.locks import FolderLock


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder for this agent alone: two with one client id would take the connection from each other.

    Raises StartError: when another agent holds it, or the folder cannot be written.
    """
    lock = _lock_in(folder)
    if not lock.take(wait=False):
        raise StartError(f"another agent already runs with {folder}: stop it, or give another --worker-id")
    try:
        yield
    finally:
        lock.free()


def is_in_use(folder: Path) -> bool:
    """Tell whether an agent runs with this folder; one that cannot be looked at does not count."""
    lock = _lock_in(folder)
    try:
        is_free = lock.take(wait=False)
    except StartError:
        return False
    lock.free()
    return not is_free


def _lock_in(folder: Path) -> FolderLock:
    return FolderLock(folder / "lock")
