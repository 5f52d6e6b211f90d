"""The GPU models that are simulated, and the kinds of machines that they sit in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model, with the figures of its data sheet."""

    name: str
    memory_bytes: int
    power_limit_w: float
    idle_power_w: float
    boost_clock_mhz: int
    idle_clock_mhz: int
    memory_clock_mhz: int
    pcie_generation: int
    full_load_c: int
    has_fan: bool = False
    has_ecc: bool = True
    nvlink_bytes_per_s: int = 0
    idle_state: int = 0  # data centre cards idle in P0, others in P8
    has_gpm: bool = False  # GPU performance monitoring: Hopper and later


H100 = Model(
    "NVIDIA H100 80GB HBM3", 80 * GIB, 700.0, 70.0, 1980, 345, 2619, 5, 66, nvlink_bytes_per_s=450 * 10**9, has_gpm=True
)
H200 = Model(
    "NVIDIA H200", 141 * GIB, 700.0, 76.0, 1980, 345, 3201, 5, 68, nvlink_bytes_per_s=450 * 10**9, has_gpm=True
)
H100_PCIE = Model("NVIDIA H100 PCIe", 80 * GIB, 350.0, 48.0, 1755, 345, 1593, 5, 70, has_gpm=True)
A100 = Model("NVIDIA A100-SXM4-40GB", 40 * GIB, 400.0, 52.0, 1410, 210, 1215, 4, 63, nvlink_bytes_per_s=300 * 10**9)
L40S = Model("NVIDIA L40S", 45 * GIB, 350.0, 34.0, 2520, 210, 9001, 4, 71, idle_state=8)
RTX_4090 = Model(
    "NVIDIA GeForce RTX 4090", 24 * GIB, 450.0, 22.0, 2745, 210, 10501, 4, 72, has_fan=True, has_ecc=False, idle_state=8
)
RTX_6000 = Model(
    "NVIDIA RTX 6000 Ada Generation", 48 * GIB, 300.0, 20.0, 2505, 210, 10001, 4, 74, has_fan=True, idle_state=8
)


class Fault(Enum):
    """What is remarkable about one card of a machine."""

    HOT = "hot"
    LOST = "lost"
    ECC = "ecc"
    MIG = "mig"


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of machine: its cards, how busy it is (0 to 1), what runs on it, and which of its cards has what fault."""

    model: Model
    count: int
    busy: float
    kinds: tuple[str, ...]
    fault: Fault | None = None
    faulty_card: int = 0
    cpu: str = "AMD EPYC 9654 96-Core Processor"
    cpu_count: int = 192
    memory_bytes: int = 1536 * GIB
    driver_version: str = "580.95.05"
    cuda_version: str = "13.0"


_TRAINING = ("training", "training", "fine-tuning")
_SMALL = {"cpu": "AMD Ryzen Threadripper PRO 7975WX 32-Cores", "cpu_count": 64, "memory_bytes": 256 * GIB}

PROFILES = (
    Profile(H100, 8, 0.95, _TRAINING),
    Profile(A100, 8, 0.85, _TRAINING, Fault.HOT, 5),
    Profile(L40S, 4, 0.80, ("inference", "inference", "transcoding")),
    Profile(RTX_4090, 4, 0.60, ("notebook", "notebook", "notebook", "transcoding"), **_SMALL),  # type: ignore[arg-type]
    Profile(H100_PCIE, 2, 0.70, ("inference", "training"), Fault.MIG, 0),
    Profile(A100, 4, 0.75, _TRAINING, Fault.LOST, 2),
    Profile(H200, 8, 0.90, (*_TRAINING, "inference")),
    Profile(RTX_6000, 2, 0.50, ("notebook", "inference"), **_SMALL),  # type: ignore[arg-type]
    Profile(A100, 4, 0.60, ("training", "notebook"), Fault.ECC, 3),
    Profile(RTX_4090, 1, 0.90, ("notebook",), **_SMALL),  # type: ignore[arg-type]
    Profile(L40S, 8, 0.70, ("inference", "transcoding", "notebook")),
    Profile(H100, 4, 0.40, ("notebook",)),
)
