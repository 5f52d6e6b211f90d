"""Bare NVML calls in a loop, those of nine readings a card that a short script would ask for, and nothing else.

`python plain_loop.py SECONDS`, run by an environment that holds nvidia-ml-py alone. After each sample it prints how
many NVML functions have been called so far, as the stand-in counts them.
"""

from __future__ import annotations

import ctypes
import sys
import time

import pynvml


def sample(handle: object) -> None:
    """Ask one card for its readings and processes."""
    pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    pynvml.nvmlDeviceGetFanSpeed(handle)
    pynvml.nvmlDeviceGetMemoryInfo(handle)
    pynvml.nvmlDeviceGetUtilizationRates(handle)
    pynvml.nvmlDeviceGetPowerUsage(handle)
    pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)
    pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
    pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)


def main() -> int:
    """Sample until the process is ended."""
    interval_s = float(sys.argv[1])
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.gpumonStandinCalls.restype = ctypes.c_long
    due = time.monotonic()
    while True:
        for handle in handles:
            sample(handle)
        sys.stdout.write(f"{library.gpumonStandinCalls()}\n")
        sys.stdout.flush()
        due += interval_s
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    raise SystemExit(main())
