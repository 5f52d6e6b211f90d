"""The processes that hold memory on a GPU, as NVML lists them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import pynvml

from agent.nvml import NvmlDevice, available
from agent.processes import ProcessTable
from agent.samplers.mig import MigSlice
from gpumon.messages import Process

MAX_PROCESSES = 4096
"""The contract's bound of a reading; those with the most memory are kept."""

ProcessType = Literal["compute", "graphics"]

# The second version of each differs in what older drivers call it, not in its structure. The clients of a CUDA
# Multi-Process Service are in a list of their own.
_LISTS: tuple[tuple[ProcessType, Any, Any], ...] = (
    ("compute", pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2),
    ("compute", pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3, pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v2),
    ("graphics", pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2),
)


class ProcessReader:
    """Reads the processes of one GPU."""

    def __init__(self, device: NvmlDevice, table: ProcessTable) -> None:
        self._device = device
        self._table = table
        self._last_sample_us = 0

    def read(self, slices: Sequence[MigSlice] | None) -> list[Process]:
        """Return the processes, by pid; each is asked of its MIG device where MIG is on (`slices` is not None).

        A process that computes and draws is listed once, as compute. Raises GpuLostError, NvmlDeadError.
        """
        found: dict[tuple[int, str | None], tuple[ProcessType, int | None]] = {}
        if slices is None:
            self._list(self._device, None, found)
        for mig in slices or ():
            self._list(mig.device, mig.reading.uuid, found)
        sm_percents = self._sm_percents() if found and slices is None else None
        processes = [
            self._process(pid, mig_uuid, kind, memory, sm_percents)
            for (pid, mig_uuid), (kind, memory) in sorted(found.items(), key=lambda item: item[0][0])
        ]
        if len(processes) > MAX_PROCESSES:
            processes.sort(key=lambda process: process.memory_bytes or 0, reverse=True)
        return processes[:MAX_PROCESSES]

    def _list(
        self,
        device: NvmlDevice,
        mig_uuid: str | None,
        found: dict[tuple[int, str | None], tuple[ProcessType, int | None]],
    ) -> None:
        for kind, newer, older in _LISTS:
            listed = device.query(newer)
            if listed is None:
                listed = device.query(older, nothing=())
            for process in listed or ():
                memory = process.usedGpuMemory  # nvidia-ml-py has made "not available" a None
                found.setdefault((process.pid, mig_uuid), (kind, memory))

    def _sm_percents(self) -> dict[int, int] | None:
        """Return the share of the streaming multiprocessors by pid, None where it is not supported.

        NVML has samples of those processes alone that used some since the last one (NVML reference,
        nvmlDeviceGetProcessUtilization): one that is missing used none.
        """
        samples = self._device.query(pynvml.nvmlDeviceGetProcessUtilization, self._last_sample_us, nothing=())
        if samples is None:
            return None
        latest: dict[int, tuple[int, int]] = {}
        horizon_us = int(time.time() * 1e6) + 1_000_000
        for sample in samples:
            # Some drivers leave the end of the list as it was: no pid, or a time that is none.
            if sample.pid and sample.timeStamp <= horizon_us and sample.smUtil <= 100:
                newest = latest.get(sample.pid, (0, 0))
                latest[sample.pid] = max(newest, (int(sample.timeStamp), int(sample.smUtil)))
                self._last_sample_us = max(self._last_sample_us, int(sample.timeStamp))
        return {pid: sm_percent for pid, (_, sm_percent) in latest.items()}

    def _process(
        self,
        pid: int,
        mig_uuid: str | None,
        kind: ProcessType,
        memory: int | None,
        sm_percents: dict[int, int] | None,
    ) -> Process:
        details = self._table.describe(pid)
        return Process(
            pid=pid,
            user=details.user,
            name=details.name,
            command=details.command,
            container=details.container,
            memory_bytes=None if memory is None else available(memory),
            type=kind,
            sm_percent=None if sm_percents is None else sm_percents.get(pid, 0),
            mig_uuid=mig_uuid,
        )
