"""Keeping what a process of gpumon holds from the other users of its machine."""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_private() -> None:
    """Make files that are created the user's alone, and the process's memory root's.

    Whatever umask it was started with, what libraries create is then private as well: SQLite's files beside the
    database, logs. A process that is not dumpable (prctl(2), Linux) writes no core, which would hold its secrets, and
    its memory and environment cannot be read by others of the same user, such as commands that an agent runs. What is
    started from it has neither of both: execve(2) sets that anew, and commands get a umask of their own.
    """
    os.umask(0o077)
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
