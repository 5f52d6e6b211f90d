"""The stand-in for NVIDIA's libnvidia-ml.so.1: built here, described by a text file that may change while it runs.

A subprocess gets it through `environment()`; a test process through `load()`. Then the real nvidia-ml-py talks to it.
The lines of the description are explained at the top of `nvml.c`; `Standin(...).write(file)` writes it, again and
again while it is watched: `Standin(gpus=[StandinGpu(), StandinGpu(lost=True)])`.

By hand, on a machine without a GPU:

    python -m tests.standin /tmp/standin           compiles it, describes a machine in /tmp/standin/gpus.txt
    export LD_LIBRARY_PATH=/tmp/standin GPUMON_STANDIN=/tmp/standin/gpus.txt
    gpumon up                                      or gpumon agent, which then read these GPUs through NVML
    echo "gpu 1 lost" >> /tmp/standin/gpus.txt     GPU 1 falls off the bus
    echo "gpu 0 xid 79 1" >> /tmp/standin/gpus.txt an XID; another number at the end raises it again
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"
STATE_VARIABLE = "GPUMON_STANDIN"

NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
UNKNOWN_ERROR = 999


def build(folder: Path, *flags: str) -> Path:
    """Compile the library into `folder`, which is returned and made where it is missing.

    With the flag `-DWITHOUT_GPM` it is one of a driver that does not have performance monitoring yet. Skips the test
    where there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not installed: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", f"-Wl,-soname,{LIBRARY}", *flags]
    subprocess.run([*command, "-o", str(folder / LIBRARY), str(SOURCE), "-lpthread"], check=True)
    return folder


def environment(library_folder: Path, state_file: Path | None = None) -> dict[str, str]:
    """Return this process's environment with the stand-in in place of NVIDIA's library, for a subprocess."""
    variables = dict(os.environ)
    variables["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, [str(library_folder), os.environ.get("LD_LIBRARY_PATH")])
    )
    variables.pop(STATE_VARIABLE, None)
    if state_file is not None:
        variables[STATE_VARIABLE] = str(state_file)
    return variables


def load(library_folder: Path) -> ctypes.CDLL:
    """Load the library into this process; nvidia-ml-py, which opens it by that name, then gets this one."""
    return ctypes.CDLL(str(library_folder / LIBRARY), mode=ctypes.RTLD_GLOBAL)


def calls(library: ctypes.CDLL) -> int:
    """Return how many NVML functions have been called so far."""
    library.gpumonStandinCalls.restype = ctypes.c_long
    return int(library.gpumonStandinCalls())


def calls_about(library: ctypes.CDLL, gpu: int) -> int:
    """Return how many calls have opened this GPU or asked it something so far."""
    library.gpumonStandinCallsAbout.restype = ctypes.c_long
    return int(library.gpumonStandinCallsAbout(gpu))


def gpm_samples(library: ctypes.CDLL) -> int:
    """Return how many buffers of GPU performance monitoring are allocated and not freed."""
    library.gpumonStandinGpmSamples.restype = ctypes.c_long
    return int(library.gpumonStandinGpmSamples())


@dataclass
class StandinProcess:
    """A process on a GPU; `type` is C (compute), G (graphics), B (in both lists) or M (a client of MPS).

    -1 means: memory not available, no utilization sample, not on a MIG device.
    """

    pid: int
    type: str = "C"
    memory_mib: int = 1024
    sm_percent: int = -1
    mig_index: int = -1


@dataclass
class StandinGpu:
    """One GPU: what is not set here moves by itself. Keys of `values` as in `nvml.c`, of `fails` NVML's functions.

    A call with -1 in `hangs_ms` hangs until a description without it is written.
    """

    lost: bool = False
    mig_devices: int = 0
    uuid: str | None = None
    name: str | None = None
    values: dict[str, int] = field(default_factory=dict)
    processes: list[StandinProcess] = field(default_factory=list)
    fails: dict[str, int] = field(default_factory=dict)
    hangs_ms: dict[str, int] = field(default_factory=dict)
    xids: list[int] = field(default_factory=list)
    double_bit_errors: int = 0

    def without(self, *functions: str) -> StandinGpu:
        """Return itself, with these functions not supported."""
        self.fails.update(dict.fromkeys(functions, NOT_SUPPORTED))
        return self

    def without_fan_and_ecc(self) -> StandinGpu:
        """Return itself as a passively cooled card without ECC memory."""
        return self.without("nvmlDeviceGetFanSpeed", "field:3", "field:4")

    def lines(self) -> list[str]:
        """Return the lines that describe it, without their beginning `gpu I`."""
        lines = ["lost"] if self.lost else []
        lines += [f"mig {self.mig_devices}"] if self.mig_devices else []
        lines += [f"{key} {text}" for key, text in (("uuid", self.uuid), ("name", self.name)) if text]
        lines += [f"set {key} {value}" for key, value in self.values.items()]
        lines += [f"process {p.pid} {p.type} {p.memory_mib} {p.sm_percent} {p.mig_index}" for p in self.processes]
        lines += [f"fail {function} {code}" for function, code in self.fails.items()]
        lines += [f"hang {function} {duration}" for function, duration in self.hangs_ms.items()]
        lines += [f"xid {code} {serial}" for serial, code in enumerate(self.xids)]
        lines += [f"dbe {serial}" for serial in range(self.double_bit_errors)]
        return lines


@dataclass
class Standin:
    """The machine that the library shows; `write()` makes it so, also while it is being watched."""

    gpus: Sequence[StandinGpu] = field(default_factory=lambda: [StandinGpu() for _ in range(4)])
    driver: str = "580.159.03"
    cuda: int = 13000
    init_error: int = 0
    dead: int = 0
    missing: Sequence[str] = ()

    def write(self, path: Path) -> Path:
        """Describe the machine in `path`, as a whole, and return it."""
        lines = [f"driver {self.driver}", f"cuda {self.cuda}", f"gpus {len(self.gpus)}"]
        lines += [f"init {self.init_error}", f"dead {self.dead}", *(f"missing {function}" for function in self.missing)]
        for index, gpu in enumerate(self.gpus):
            lines += [f"gpu {index} {line}" for line in gpu.lines()]
        new = path.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(path)
        return path


def mixed_machine() -> Standin:
    """Return four GPUs: a busy one (with this process), one in MIG mode, an idle one, one without fan and ECC."""
    process = StandinProcess(os.getpid(), memory_mib=30720, sm_percent=85)
    return Standin(
        gpus=[
            StandinGpu(processes=[process]),
            StandinGpu(mig_devices=2, processes=[StandinProcess(os.getpid(), memory_mib=4096, mig_index=0)]),
            StandinGpu(),
            StandinGpu(name="NVIDIA L40S").without_fan_and_ecc(),
        ]
    )


def eight_gpus(pids: Sequence[int], processes_per_gpu: int = 3) -> Standin:
    """Return a busy machine with eight GPUs, whose processes are these in turn: for measuring what sampling costs."""
    in_turn = itertools.cycle([StandinProcess(pid, memory_mib=20480, sm_percent=45) for pid in pids])
    return Standin(gpus=[StandinGpu(processes=list(itertools.islice(in_turn, processes_per_gpu))) for _ in range(8)])
