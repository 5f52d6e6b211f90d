"""Readings through the program nvidia-smi, for machines where NVML's library cannot be loaded."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time

from agent.processes import ProcessTable
from agent.samplers import nvidia_smi_xml as xml
from agent.samplers.base import Inventory, Readings, SamplerError
from gpumon.messages import Event, Source

logger = logging.getLogger(__name__)

# Exit codes with which nothing can be read: nvidia-smi's manual page, and NVML's nvmlReturn_t for those it lacks.
# With others, as 15 for a lost GPU, what it prints says why, or still tells of the other cards.
_WHY_NOT = {
    9: "finds no loaded NVIDIA driver: reboot after an installation or update, or see dmesg for why it failed",
    12: "does not find NVML's library libnvidia-ml.so.1: install the NVIDIA driver of the same version",
    18: "and the loaded NVIDIA driver are of different versions: the driver was updated, so reboot this machine",
}

TIMEOUT_S = 30.0
"""After this time a run is given up: nvidia-smi takes a second or two with many GPUs, and hangs with a broken one."""


class NvidiaSmi:
    """Runs nvidia-smi: one at a time, and none for longer than `timeout_s`."""

    def __init__(self, program: str = "nvidia-smi", timeout_s: float = TIMEOUT_S) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._hanging: subprocess.Popen[str] | None = None

    def run(self, *arguments: str) -> str:
        """Return what it prints; also where it reports a failure, as it does for the other cards when one is lost.

        Raises SamplerError: when it is not there, does not end in time, or prints nothing.
        """
        if self._hanging is not None:
            if self._hanging.poll() is None:
                raise SamplerError(
                    f"nvidia-smi (process {self._hanging.pid}) hangs in the driver and cannot be ended: see dmesg"
                )
            self._hanging = None
        path = shutil.which(self._program)
        if path is None:
            raise SamplerError(f"{self._program} was not found: install the NVIDIA driver's utilities")
        try:
            process = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            raise SamplerError(f"{path} cannot be run: {error.strerror}") from error
        try:
            output, _ = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            self._give_up(process)
            raise SamplerError(
                f"nvidia-smi did not answer in {self._timeout_s:g} s and was killed: a GPU may hang, see dmesg"
            ) from error
        if process.returncode in _WHY_NOT:
            raise SamplerError(f"nvidia-smi {_WHY_NOT[process.returncode]} (exit code {process.returncode})")
        if not output.strip():
            raise SamplerError(f"nvidia-smi ended with exit code {process.returncode} and no output: see dmesg")
        return output

    def _give_up(self, process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its children, where it is a script around the real one
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._hanging = process  # in an uninterruptible call; no second one is started beside it
        if process.stdout is not None:
            process.stdout.close()


class NvidiaSmiSampler:
    """Reads all GPUs with `nvidia-smi -q -x`.

    It tells no energy, NVLink, XID, nor a process's share. Asked more often than a run takes, it answers with the last
    readings, so that it never uses more than half of the time.
    """

    def __init__(self, table: ProcessTable, program: str = "nvidia-smi", timeout_s: float = TIMEOUT_S) -> None:
        self._table = table
        self._smi = NvidiaSmi(program, timeout_s)
        self._last: xml.Report | None = None
        self._not_before_s = 0.0

    @property
    def source(self) -> Source:
        """The name under which readings are published."""
        return "nvidia-smi"

    def start(self) -> None:
        """Run it once. Raises SamplerError: when it cannot be used on this machine, or shows no GPU."""
        report = self._run()
        if not report.gpus and not report.problems:
            raise SamplerError("nvidia-smi shows no GPU: see dmesg, or give the container its GPUs")

    def stop(self) -> None:
        """Nothing stays open."""

    def inventory(self) -> Inventory:
        """Return the cards that answered last. Raises SamplerError: when nvidia-smi has never answered."""
        return (self._last or self._run()).inventory

    def read(self) -> Readings:
        """Read every card. Raises SamplerError: when nvidia-smi does not answer."""
        report = self._last
        if report is None or time.monotonic() >= self._not_before_s:
            report = self._run()
        return Readings(tuple(report.gpus), "; ".join(report.problems) or None)

    def waits_for(self) -> str | None:
        """Return None: it waits for nvidia-smi, whatever that waits for."""
        return None

    def events(self) -> list[Event]:
        """Return nothing: nvidia-smi tells no events."""
        return []

    def _mig_names(self) -> dict[tuple[str, int], xml.MigName]:
        try:
            return xml.mig_names(self._smi.run("-L"))
        except SamplerError as error:
            logger.info("MIG devices are shown without their names: %s", error)
            return {}

    def _run(self) -> xml.Report:
        began_s = time.monotonic()
        self._last = None  # an answer of before is not told as the present one where this run fails
        try:
            root = xml.parse(self._smi.run("-q", "-x"))
            names = self._mig_names() if xml.has_mig_devices(root) else {}
        finally:
            ended_s = time.monotonic()
            self._not_before_s = ended_s + (ended_s - began_s)
        report = xml.report(root, self._table, names)
        self._table.forget_all_but(process.pid for gpu in report.gpus for process in gpu.processes)
        self._last = report
        return report
