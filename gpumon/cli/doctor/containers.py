"""Whether containers here can be given the GPUs: NVIDIA's toolkit, and what Docker and Podman are told of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.system import System

TOOLKIT = "container toolkit"
CONFIGURE_DOCKER = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
GENERATE_CDI = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
# The driver's version in the names of the libraries that a CDI specification (cncf.io/cdi) lists.
_LIBRARY_VERSION = re.compile(r"libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)?)")


def look_at_containers(system: System) -> Iterator[Finding]:
    """Look at the toolkit where an engine for containers is here, and at what each engine is told of it."""
    if system.is_container:
        yield Finding(TOOLKIT, Verdict.UNKNOWN, "this is a container: look on the host", "nothing, if NVML answers")
        return
    engines = [engine for engine in ("docker", "podman") if shutil.which(engine)]
    if not engines:
        yield Finding(TOOLKIT, Verdict.GOOD, "not needed: neither docker nor podman is here")
        return
    toolkit = _toolkit(engines)
    yield toolkit
    if toolkit.verdict is not Verdict.GOOD:
        return
    specifications = _specifications(system)
    if "docker" in engines:
        yield _docker(system, specifications)
    if "podman" in engines:
        yield _podman(specifications)
    if specifications:
        yield _cdi(system, specifications)


def _toolkit(engines: list[str]) -> Finding:
    named = " and ".join(engines)
    if shutil.which("nvidia-ctk") is None:
        to_do = "nothing, unless the agent is to run in a container: then install nvidia-container-toolkit"
        return Finding(TOOLKIT, Verdict.WARNING, f"it is not installed, beside {named}", to_do)
    missing = [name for name in ("nvidia-container-runtime", "nvidia-container-cli") if shutil.which(name) is None]
    if missing:
        to_do = "sudo apt-get install --reinstall nvidia-container-toolkit libnvidia-container-tools"
        return Finding(TOOLKIT, Verdict.WARNING, f"nvidia-ctk is here without {' and '.join(missing)}", to_do)
    return Finding(TOOLKIT, Verdict.GOOD, f"installed, for {named}")


def _docker(system: System, specifications: list[Path]) -> Finding:
    what = "docker"
    text = system.read("/etc/docker/daemon.json") or "{}"
    try:
        is_told = "nvidia" in json.loads(text).get("runtimes", {})
    except (ValueError, AttributeError, TypeError) as error:
        to_do = "mend it: Docker does not start with it either"
        return Finding(what, Verdict.WARNING, f"/etc/docker/daemon.json cannot be read: {error}", to_do)
    if is_told:
        return Finding(what, Verdict.GOOD, "it has NVIDIA's runtime")
    if specifications:
        return Finding(what, Verdict.GOOD, "it can find the GPUs by CDI (--device nvidia.com/gpu=all)")
    return Finding(what, Verdict.WARNING, "it is not told of the container toolkit", CONFIGURE_DOCKER)


def _podman(specifications: list[Path]) -> Finding:
    what = "podman"
    if specifications:
        return Finding(what, Verdict.GOOD, "it finds the GPUs by CDI (--device nvidia.com/gpu=all)")
    return Finding(what, Verdict.WARNING, "there is no CDI specification of the GPUs", GENERATE_CDI)


def _cdi(system: System, specifications: list[Path]) -> Finding:
    """Tell whether the specification is for the driver that is loaded: an update of that leaves it behind."""
    what = "CDI"
    loaded = re.search(r"(\d+\.\d+(?:\.\d+)?)", system.read("/proc/driver/nvidia/version"))
    for path in specifications:
        meant = set(_LIBRARY_VERSION.findall(path.read_text(errors="replace")))
        if loaded and meant and loaded[1] not in meant:
            found = f"{path.name} is for driver {', '.join(sorted(meant))}, and {loaded[1]} is loaded"
            return Finding(what, Verdict.WARNING, found, GENERATE_CDI)
    return Finding(what, Verdict.GOOD, f"the GPUs stand in {', '.join(path.name for path in specifications)}")


def _specifications(system: System) -> list[Path]:
    found = []
    for folder in CDI_FOLDERS:
        for path in sorted(system.path(folder).glob("*")):
            is_one = path.suffix in (".yaml", ".yml", ".json") and path.is_file()
            if is_one and "nvidia.com/gpu" in path.read_text(errors="replace"):
                found.append(path)
    return found
