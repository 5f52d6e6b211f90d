"""Replacing what a data folder holds, all of it or nothing, whenever the process is killed or the power fails.

What is to be there is laid into `.restore`. Renaming that to `.restoring` is the moment of the change: before it the
folder is as it was; after it, whoever opens the folder next finishes what is left to be moved.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.locks import locked

_LAID_OUT = ".restore"
_DECIDED = ".restoring"
# Within it: what is to come, under another name once everything of before is out of the way, and what was before.
_NEW, _READY, _OLD = "new", "ready", "old"


def lay_out(root: Path) -> Path:
    """Return an empty folder for what `root` is to hold; what an earlier try has left there is deleted."""
    shutil.rmtree(root / _LAID_OUT, ignore_errors=True)
    new = root / _LAID_OUT / _NEW
    new.mkdir(mode=0o700, parents=True)
    return new


def give_up(root: Path) -> None:
    """Delete what was laid out, and leave `root` as it is."""
    shutil.rmtree(root / _LAID_OUT, ignore_errors=True)


def swap(root: Path, names: Iterable[str]) -> Path | None:
    """Have what was laid out take the place of these names; return where those are now, None where there were none."""
    (root / _LAID_OUT / "names").write_text("\n".join(names))
    sync_folder(root / _LAID_OUT)
    (root / _LAID_OUT).rename(root / _DECIDED)
    sync_folder(root)
    return finish(root)


def finish(root: Path) -> Path | None:
    """Finish a swap that was decided, if there is one; return where what was there before is now."""
    decided = root / _DECIDED
    if not decided.exists():
        return None
    with locked(DataFolder(root).prepare_lock):
        if not decided.exists():  # another process has done it meanwhile
            return None
        return _moved(root, decided)


def _moved(root: Path, decided: Path) -> Path | None:
    old, new, ready = decided / _OLD, decided / _NEW, decided / _READY
    if new.exists():  # nothing of it is in its place yet, so whatever is there is of before
        old.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:  # on behalf of the folder's owner
            os.chown(old, root.stat().st_uid, root.stat().st_gid)
        for name in (decided / "names").read_text().split("\n"):
            if (root / name).exists() or (root / name).is_symlink():
                (root / name).rename(old / name)
        new.rename(ready)
    if ready.exists():  # killed at its very end, it may be deleted already
        for path in sorted(ready.iterdir()):
            path.rename(root / path.name)
    kept = root / time.strftime("before-restore-%Y%m%d-%H%M%S", time.gmtime())
    if old.exists() and any(old.iterdir()):
        old.rename(kept)
    shutil.rmtree(decided)
    sync_folder(root)
    return kept if kept.exists() else None


def sync_folder(folder: Path) -> None:
    """See that the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
