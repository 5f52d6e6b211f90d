"""`python -m tests.master.usage.killed_process FOLDER START`: counts simulated time from START on until it is killed.

One card is held by chen without a break. After each simulated minute that is stored, it says up to when.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gpumon.datafolder import DataFolder
from master.prepare import prepare
from master.store.engine import Store
from tests.master.usage.support import card, process, running


def main(folder: str, start: str) -> None:
    """Count until the end."""
    data = DataFolder(Path(folder))
    prepare(data)
    store = Store(data)
    store.start()
    held = card(process("chen"))
    with running(store, float(start)) as run:
        run.tell(held)
        sys.stdout.write("began\n")
        sys.stdout.flush()
        while True:
            run.run(60, held)
            assert run.writer.flush()
            # What comes at the full minute is of the next one.
            sys.stdout.write(f"{max(run.now // 60 * 60 - 5, float(start)):.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
