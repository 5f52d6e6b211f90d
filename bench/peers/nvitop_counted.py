"""nvitop's exporter with a thread that prints each second how many NVML functions it has called so far.

Only for counting; what is measured is the exporter as it comes. Run by the interpreter of its own environment.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time


def _count() -> None:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.gpumonStandinCalls.restype = ctypes.c_long
    while True:
        sys.stdout.write(f"{library.gpumonStandinCalls()}\n")
        sys.stdout.flush()
        time.sleep(1)


if __name__ == "__main__":
    from nvitop_exporter.cli import main  # type: ignore[import-not-found, unused-ignore]

    threading.Thread(target=_count, daemon=True).start()
    raise SystemExit(main())
