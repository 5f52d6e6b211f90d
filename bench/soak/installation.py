"""`gpumon up` on a small disk of its own, and processes of real workers behind a rough link."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.children import Children, wait_until
from bench.deployment import GPUMON, START_TIMEOUT_S, Deployment, answers, clean_environment, listens
from bench.processes import children
from bench.soak.rough_link import RoughLink

DISK_MIB = 200
GROUP = 30
INTERVAL_S = 2.0


class Installation(Deployment):
    """A master and a broker that `gpumon up` starts again when they die, and workers in groups."""

    def __init__(self, folder: Path, children_: Children, workers: int, link: RoughLink) -> None:
        super().__init__(folder, children_)
        self.mqtt_port = link.to_port
        self.workers = workers
        self.link = link
        self.groups: dict[int, subprocess.Popen[bytes]] = {}
        self._folder = folder.parent
        self._up: subprocess.Popen[bytes] | None = None

    @property
    def disk(self) -> Path:
        """The folder of the small disk."""
        return self.data.root.parent

    def start(self) -> None:
        """Start everything; return when the page answers."""
        ports = ["--port", str(self.page_port), "--mqtt-port", str(self.mqtt_port)]
        command = [*GPUMON, "up", *ports, "--data", str(self.data.root)]
        environment = clean_environment(PATH="/usr/bin:/bin")  # no NVML here, so that no further agent is started
        self._up = self._children.start("up", command, environment)
        wait_until(lambda: listens(self.mqtt_port), "the broker listens", START_TIMEOUT_S, self._children)
        wait_until(lambda: answers(f"{self.page}/login"), "the page answers", START_TIMEOUT_S, self._children)
        self.link.start()
        for first in range(0, self.workers, GROUP):
            self.start_group(first)

    def end(self) -> None:
        """Stop broker and master in order."""
        assert self._up is not None
        self._children.end(self._up)

    @property
    def worker_ids(self) -> list[str]:
        """The workers that are to live."""
        return [f"load-{number:05d}" for number in range(self.workers)]

    def start_group(self, first: int) -> None:
        """Start the workers from number `first` on."""
        command = [sys.executable, "-m", "bench.soak.workers", "--accounts", str(self.accounts_file)]
        command += ["--port", str(self.link.port), "--data", str(self._folder / "agents"), "--first", str(first)]
        command += ["--count", str(min(GROUP, self.workers - first)), "--interval", str(INTERVAL_S)]
        command += ["--clock", str(self._clock(first))]
        self.groups[first] = self._children.start(f"workers-{first}", command, clean_environment())

    def kill_group(self, first: int) -> None:
        """End the workers from number `first` on with SIGKILL."""
        self.groups[first].kill()
        self._children.end(self.groups[first])

    def shift_clock(self, first: int, seconds: int) -> None:
        """Let the wall clock of a group be wrong by so many seconds."""
        self._clock(first).write_text(str(seconds))

    def pids(self) -> dict[str, int]:
        """Return the pids of broker and master, those that are there now."""
        assert self._up is not None
        found = {}
        for pid in children(self._up.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            for name, shown in (("broker", "broker"), ("master", "master and page")):
                if name.encode() in words:
                    found[shown] = pid
        return found

    def _clock(self, first: int) -> Path:
        return self._folder / f"clock-{first}"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a folder on a disk of `DISK_MIB`; a plain one where this process may not mount."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "gpumon-soak", str(disk)]
    is_small = os.geteuid() == 0 and subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield disk
    finally:
        if is_small:
            subprocess.run(["umount", "--lazy", str(disk)], check=False)
