"""The GPUs that agents read in benchmarks: a stand-in for NVML's library with eight, or this machine's own."""

from __future__ import annotations

from pathlib import Path

from bench.children import Children
from bench.deployment import clean_environment
from tests import standin

GPUS = 8
PROCESSES_PER_GPU = 2


def standin_environment(folder: Path, children: Children) -> dict[str, str]:
    """Return an environment in which NVML finds eight busy GPUs, each with two processes that are really there."""
    library = standin.build(folder)
    jobs = [children.start(f"job-{number}", ["sleep", "900"]) for number in range(GPUS * PROCESSES_PER_GPU)]
    state = standin.eight_gpus([job.pid for job in jobs], PROCESSES_PER_GPU).write(folder / "standin.txt")
    theirs = standin.environment(library, state)
    names = ("LD_LIBRARY_PATH", standin.STATE_VARIABLE)
    return clean_environment(**{name: theirs[name] for name in names})
