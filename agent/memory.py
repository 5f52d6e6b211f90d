"""Keeping the agent small on machines that are there for other work."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def settle() -> None:
    """Give back what starting took: to be called once, when everything has been loaded.

    Loading modules leaves a third of the heap free but not returned; glibc's malloc_trim(3) returns it. What has been
    loaded stays, so that the collector need not look at it again.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # another libc has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
