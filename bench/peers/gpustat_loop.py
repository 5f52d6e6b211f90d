"""gpustat's library in a loop, run by the interpreter of its own environment: `python gpustat_loop.py SECONDS`.

After each sample it prints how many NVML functions have been called so far, as the stand-in counts them.
"""

from __future__ import annotations

import ctypes
import sys
import time

import gpustat  # type: ignore[import-not-found, unused-ignore]


def main() -> int:
    """Sample until the process is ended."""
    interval_s = float(sys.argv[1])
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.gpumonStandinCalls.restype = ctypes.c_long
    due = time.monotonic()
    while True:
        gpustat.new_query()
        sys.stdout.write(f"{library.gpumonStandinCalls()}\n")
        sys.stdout.flush()
        due += interval_s
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    raise SystemExit(main())
