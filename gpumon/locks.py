"""Locks between processes on the same data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gpumon.errors import GpumonError, StartError


class FolderLock:
    """A lock held through a file; the kernel frees it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, wait: bool) -> bool:
        """Take the lock, waiting for it or not; False where another process holds it. Raises StartError."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(f"{self._path} cannot be written ({error.strerror}): change its owner") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def free(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def alone(path: Path, refusal: GpumonError) -> Iterator[None]:
    """Hold the lock at `path`. Raises `refusal`: where another process holds it. StartError: as `take` does."""
    lock = FolderLock(path)
    if not lock.take(wait=False):
        raise refusal
    try:
        yield
    finally:
        lock.free()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, waiting for it as long as it takes."""
    lock = FolderLock(path)
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.free()
