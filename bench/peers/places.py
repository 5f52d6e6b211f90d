"""Where the peers are: each in a virtual environment or folder of its own below build/peers, made once and kept.

Nothing of theirs is in this repository. Versions are pinned here; another pin makes the place anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchmarkError

FOLDER = Path(__file__).resolve().parent.parent.parent / "build" / "peers"
LONGEST_INSTALLATION_S = 300.0

NVML = "nvidia-ml-py==13.615.71"
PSUTIL = "psutil==7.2.2"
PLAIN = (NVML,)
GPUSTAT = ("gpustat==1.1.1", "blessed==1.52.0", NVML, PSUTIL)
NVITOP_EXPORTER = ("nvitop-exporter==1.7.2", "nvitop==1.7.2", "prometheus-client==0.26.0", NVML, PSUTIL)
CHART_JS = "chart.js@4.5.0"
GPU_HOT = "https://github.com/psalias2006/gpu-hot"
GPU_HOT_COMMIT = "9ee8027be3d2535694ddda6ac6d9c6470990b305"  # after 1.9.0


class NotHereError(BenchmarkError):
    """A peer that cannot be installed or run on this machine, with the reason."""


def environment_of(name: str, requirements: Sequence[str]) -> Path:
    """Return the folder with the programs of a virtual environment that holds these requirements.

    Raises NotHereError: with pip's last line, where they cannot be installed.
    """
    folder = FOLDER / name
    wanted = "\n".join((*requirements, sys.version))
    mark = folder / "holds.txt"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(name, [*pip, *requirements])  # which compiles the byte code as well
        mark.write_text(wanted)
    return folder / "bin"


def gpu_hot_source() -> Path:
    """Return a checkout of gpu-hot at the pinned commit. Raises NotHereError."""
    folder = FOLDER / "gpu-hot-source"
    if not (folder / ".git").exists():
        _run("gpu-hot", ["git", "clone", "--quiet", GPU_HOT, str(folder)])
    _run("gpu-hot", ["git", "-C", str(folder), "-c", "advice.detachedHead=false", "checkout", "-q", GPU_HOT_COMMIT])
    return folder


def chart_js() -> Path:
    """Return the one file of Chart.js, which gpu-hot's page loads from elsewhere. Raises NotHereError."""
    folder = FOLDER / "chart.js"
    file = folder / "node_modules" / "chart.js" / "dist" / "chart.umd.js"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run("chart.js", ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), CHART_JS])
    return file


def program(name: str, package: str) -> str:
    """Return the path of one of the system's programs. Raises NotHereError: with the package that brings it."""
    found = shutil.which(name)
    if found is None:
        raise NotHereError(f"{name} is not installed: apt-get install {package}")
    return found


def _run(name: str, command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_INSTALLATION_S)
    except FileNotFoundError:
        raise NotHereError(f"{name} cannot be installed: {command[0]} is missing") from None
    except subprocess.TimeoutExpired:
        raise NotHereError(f"{name} cannot be installed within {LONGEST_INSTALLATION_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or error.stdout.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise NotHereError(f"{name} cannot be installed: {said}") from None
