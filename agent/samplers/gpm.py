"""How busy the parts of a GPU are, by NVML's GPU performance monitoring (GPM): Hopper and later.

"Utilization" says how long anything ran; these say how much of the GPU that was. NVML takes samples of counters into
buffers that it allocates, and works out what lay between two of them (NVML reference, "NVML GPM"): so there are two
buffers for each GPU, and for each GPU instance where MIG has cut it up, and the first look has no figure.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from agent.nvml import GpuFaultError, Nvml, NvmlDevice
from agent.samplers.base import SamplerError
from agent.samplers.mig import MigSlice

logger = logging.getLogger(__name__)

SHORTEST_WINDOW_S = 0.1
"""The counters are refreshed about so often (NVML reference, nvmlGpmMetricsGet): what is nearer has no figure."""
ROUNDING_PERCENT = 1.0
"""As far above 100 % a figure may be for what it is, two clocks that differ a little; what is further is nonsense."""

_METRICS = (
    pynvml.NVML_GPM_METRIC_SM_UTIL,
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
)


@dataclass(frozen=True, slots=True)
class Activity:
    """Means between the last two looks: SMs with work, tensor cores at work, memory bandwidth in use."""

    sm_percent: float | None = None
    tensor_percent: float | None = None
    dram_percent: float | None = None


NOT_MEASURED = Activity()


class GpmMeter:
    """Measures one GPU and the GPU instances cut off it; what it has allocated is given back by `release()`."""

    def __init__(self, nvml: Nvml, device: NvmlDevice) -> None:
        self._nvml = nvml
        self._device = device
        self._is_supported: bool | None = None
        self._whole = _Window(nvml, device, pynvml.nvmlGpmSampleGet)
        self._instances: dict[tuple[int, str], _Window] = {}

    def read(self, now_s: float, slices: Sequence[MigSlice] | None) -> tuple[Activity, dict[str, Activity]]:
        """Return the GPU's activity and that of its MIG devices by uuid; `now_s` is monotonic.

        The compute instances of one GPU instance share its figures. Raises GpuLostError, NvmlDeadError.
        """
        if not self._supported():
            return NOT_MEASURED, {}
        return self._whole.measure(now_s), self._of_slices(now_s, slices or ())

    def release(self) -> None:
        """Forget what was seen and give back all buffers, as before NVML is closed; safe to call twice."""
        self._is_supported = None
        self._whole.release()
        for window in self._instances.values():
            window.release()
        self._instances = {}

    def _supported(self) -> bool:
        if self._is_supported is None:
            # An old driver does not know the question, which is then asked as seldom as all that is not supported.
            support = self._device.query(pynvml.nvmlGpmQueryDeviceSupport)
            if support is None:
                return False
            self._is_supported = bool(support.isSupportedDevice)
        return self._is_supported

    def _of_slices(self, now_s: float, slices: Sequence[MigSlice]) -> dict[str, Activity]:
        first_of: dict[int, str] = {}
        for mig in slices:
            if mig.reading.gpu_instance is not None:
                first_of.setdefault(mig.reading.gpu_instance, mig.reading.uuid)
        # An instance's number is used again: with another uuid it is another one.
        self._keep_only(first_of)
        measured: dict[int | None, Activity] = {
            number: self._instance(number, uuid).measure(now_s) for number, uuid in first_of.items()
        }
        return {mig.reading.uuid: measured.get(mig.reading.gpu_instance, NOT_MEASURED) for mig in slices}

    def _instance(self, number: int, uuid: str) -> _Window:
        window = self._instances.get((number, uuid))
        if window is None:
            window = _Window(self._nvml, self._device, pynvml.nvmlGpmMigSampleGet, number)
            self._instances[number, uuid] = window
        return window

    def _keep_only(self, first_of: Mapping[int, str]) -> None:
        for number, uuid in [key for key in self._instances if first_of.get(key[0]) != key[1]]:
            self._instances.pop((number, uuid)).release()


class _Window:
    """What lies between the last two samples of one GPU or GPU instance."""

    def __init__(self, nvml: Nvml, device: NvmlDevice, take: Any, *args: int) -> None:
        self._nvml = nvml
        self._device = device
        self._take, self._args = take, args
        self._newest: Any = None
        self._spare: Any = None
        self._has_newest = False
        self._taken_s = 0.0
        self._activity = NOT_MEASURED
        self._is_given_up = False

    def measure(self, now_s: float) -> Activity:
        if self._has_newest and now_s - self._taken_s < SHORTEST_WINDOW_S:
            return self._activity
        if self._is_given_up or not self._allocate():
            return NOT_MEASURED
        older, newer, has_older = self._newest, self._spare, self._has_newest
        self._activity = NOT_MEASURED
        self._has_newest = self._device.fill(newer, self._take, *self._args)
        if self._has_newest:
            self._newest, self._spare, self._taken_s = newer, older, now_s
            if has_older:
                self._activity = self._between(older, newer)
        return self._activity

    def release(self) -> None:
        buffers, self._newest, self._spare = (self._newest, self._spare), None, None
        self._has_newest, self._is_given_up = False, False
        for buffer in buffers:
            if buffer is not None:
                try:
                    self._nvml.query(pynvml.nvmlGpmSampleFree, buffer)
                except SamplerError as error:
                    logger.debug("a buffer of NVML is lost: %s", error)

    def _allocate(self) -> bool:
        if self._newest is None:
            self._newest = self._ask(pynvml.nvmlGpmSampleAlloc)
        if self._spare is None:
            self._spare = self._ask(pynvml.nvmlGpmSampleAlloc)
        return self._newest is not None and self._spare is not None

    def _between(self, older: Any, newer: Any) -> Activity:
        request = pynvml.c_nvmlGpmMetricsGet_t()
        request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(_METRICS)
        request.sample1, request.sample2 = older, newer
        for place, metric in enumerate(_METRICS):
            request.metrics[place].metricId = metric
        answer = self._ask(pynvml.nvmlGpmMetricsGet, request)
        return NOT_MEASURED if answer is None else Activity(*map(_percent, answer.metrics[: len(_METRICS)]))

    def _ask(self, function: Any, *args: Any) -> Any:
        """Ask what is not about a handle; after an error that will be the same the next time, give up."""
        try:
            answer, is_worth_asking_again = self._nvml.call(function, args, self._device.place)
        except GpuFaultError as error:
            logger.info("how busy the parts of %s are is left out: %s", self._device.place, error)
            answer, is_worth_asking_again = None, False
        self._is_given_up = not is_worth_asking_again
        return answer


def _percent(metric: Any) -> float | None:
    """Return a metric's value, None where NVML has none: it says so by a code, or by a value that is not a number."""
    value = float(metric.value)
    if metric.nvmlReturn != pynvml.NVML_SUCCESS or not math.isfinite(value):
        return None
    return round(min(value, 100.0), 1) if 0 <= value <= 100 + ROUNDING_PERCENT else None
