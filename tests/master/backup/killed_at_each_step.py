"""Restores a backup again and again, each time killed one step later: `python -m ... BACKUP DATA STATES`.

A step is anything by which a process changes files. What is then there is written to STATES, one word a step.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gpumon import folder_swap
from gpumon.datafolder import DataFolder
from master.backup.restoring import restore
from tests.master.backup.filled import BY, files_of, rows_of

_STEPS = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "shutil.rmtree"})


def die_at(step: int) -> None:
    """Have this process killed when it is about to make its step of this number."""
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _STEPS or writes:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def in_a_process(work: Callable[..., object], *arguments: object, step: int) -> bool:
    """Do it in a process of its own and tell whether that came to its end before the step at which it is killed."""
    child = os.fork()
    if child == 0:
        die_at(step)
        work(*arguments)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def state_of(root: Path) -> tuple[object, ...]:
    """Return what a folder holds, once whoever opens it has finished what was decided."""
    folder_swap.finish(root)
    return sorted(files_of(root).items()), rows_of(DataFolder(root))["users"]


if __name__ == "__main__":
    backup, old, new, states = map(Path, sys.argv[1:])
    known = {repr(state_of(old)): "old", repr(state_of(new)): "new"}
    with states.open("w") as file:
        for number in range(1000):
            place = old.parent / f"step{number}"
            shutil.copytree(old, place)
            ended = in_a_process(restore, backup, DataFolder(place), BY, step=number)
            if not ended and number % 3 == 0:  # killed once more while it is finished
                in_a_process(folder_swap.finish, place, step=2)
            file.write(known.get(repr(state_of(place)), "mixed") + "\n")
            shutil.rmtree(place)
            if ended:
                break
