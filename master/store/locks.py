"""Locks between processes on the same data folder; they live on the ground floor, since the broker takes one too."""

from gpumon.locks import FolderLock, locked

__all__ = ["FolderLock", "locked"]
