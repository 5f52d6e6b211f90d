"""The single place through which NVML is asked anything, so that its many ways of saying "no" are decided once.

NVML (the NVIDIA Management Library) is reached through nvidia-ml-py; its functions are passed in as they are:
`device.query(pynvml.nvmlDeviceGetFanSpeed)`. Return codes and their meaning: NVML API reference, `nvmlReturn_t`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from agent.samplers.base import SamplerError

logger = logging.getLogger(__name__)

UINT_NOT_AVAILABLE = 0xFFFFFFFF
"""`NVML_VALUE_NOT_AVAILABLE` in an unsigned int, also what a MIG instance id is where there is none."""
ULONGLONG_NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFF
"""`NVML_VALUE_NOT_AVAILABLE` in an unsigned long long, as in a process's memory under some drivers."""

RETRY_ABSENT_AFTER_S = 600.0
"""After this time what a card did not support is tried again: a mode (MIG, ECC) may have changed since."""

# Not supported, or not by this driver or user: no reading, and no use in asking again each second.
_ABSENT = frozenset(
    {
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
# Nothing to tell at this moment. Success is among them since nvidia-ml-py raises it where a list is empty.
_NOTHING_NOW = frozenset(
    {
        pynvml.NVML_SUCCESS,
        pynvml.NVML_ERROR_NOT_FOUND,
        pynvml.NVML_ERROR_NO_DATA,
        pynvml.NVML_ERROR_INSUFFICIENT_SIZE,
        pynvml.NVML_ERROR_NOT_READY,
        pynvml.NVML_ERROR_INVALID_STATE,
        pynvml.NVML_ERROR_IN_USE,
        pynvml.NVML_ERROR_TIMEOUT,
    }
)
_LOST = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND})
_DEAD = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)

_WHY_NOT_STARTED = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "NVML's library libnvidia-ml.so.1 was not found: install the NVIDIA driver, "
        "or start the container with the NVIDIA container toolkit"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA kernel driver is not loaded: reboot after an installation, or see dmesg for why it failed"
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "NVML's library and the loaded NVIDIA kernel driver are of different versions: "
        "the driver was updated, so reboot this machine"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "NVML may not open the NVIDIA devices: run the agent as a user who can read and write /dev/nvidia*"
    ),
    pynvml.NVML_ERROR_UNKNOWN: (
        "NVML cannot be initialised (Unknown Error): restart the container if this is one "
        "(it lost its access to the devices), otherwise see dmesg"
    ),
}


Field = int | tuple[int, int]
# A driver that does not know a field yet calls its number invalid.
_ABSENT_FIELD = _ABSENT | {pynvml.NVML_ERROR_INVALID_ARGUMENT}
_FIELD_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


class GpuLostError(SamplerError):
    """A GPU no longer answers: it has fallen off the bus or has been taken away."""


class NvmlDeadError(SamplerError):
    """NVML as a whole no longer answers and has to be started again."""


class GpuFaultError(SamplerError):
    """NVML answered one question about one GPU with an error that a healthy GPU does not give."""


class Nvml:
    """NVML as a whole: started once, asked through `query()`, closed with `stop()`; as thread-safe as NVML itself.

    What it is asked at this moment is noted, since a call may hang in the driver; so only one thread asks, and those
    that wait for an event do so through `wait()`.
    """

    def __init__(self) -> None:
        self._started = False
        self._asked: tuple[Callable[..., Any], Sequence[Any], str | None] | None = None

    def start(self) -> None:
        """Load and initialise NVML. This opens no GPU, so it wakes none.

        Raises SamplerError: with one line that says why not, and what to do.
        """
        if self._started:
            return
        self._asked = (pynvml.nvmlInit, (), None)
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            reason = _WHY_NOT_STARTED.get(error.value, f"NVML cannot be initialised: {error}: see nvidia-smi and dmesg")
            raise SamplerError(reason) from error
        finally:
            self._asked = None
        self._started = True

    def stop(self) -> None:
        """Close NVML; safe to call twice."""
        if not self._started:
            return
        self._started = False
        self._asked = (pynvml.nvmlShutdown, (), None)
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            logger.debug("NVML did not shut down cleanly: %s", error)
        finally:
            self._asked = None

    @property
    def started(self) -> bool:
        """Whether NVML is open now."""
        return self._started

    def pending(self) -> str | None:
        """Return the call that has not returned yet and what it is about, None where there is none; from any thread."""
        asked = self._asked
        if asked is None:
            return None
        function, args, about = asked
        if about is None:
            said = [str(argument) for argument in args if isinstance(argument, int | str)]
            return f"{function.__name__}({', '.join(said)})"
        return f"{function.__name__} about {about}"

    def query(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what NVML answers, or None where it has nothing to say. A true 0 stays 0.

        Raises GpuLostError, NvmlDeadError, GpuFaultError.
        """
        return self.call(function, args)[0]

    def call(self, function: Callable[..., Any], args: Sequence[Any], about: str | None = None) -> tuple[Any, bool]:
        """Return what NVML answers, or None, and whether it is of use to ask again soon; `about` names the GPU.

        Raises GpuLostError, NvmlDeadError, GpuFaultError.
        """
        self._asked = (function, args, about)
        try:
            return self.wait(function, args)
        finally:
            self._asked = None

    def wait(self, function: Callable[..., Any], args: Sequence[Any]) -> tuple[Any, bool]:
        """Do as `call` does, for a call that is meant to wait: it is not noted as one that has not returned.

        Raises GpuLostError, NvmlDeadError, GpuFaultError.
        """
        try:
            answer = function(*args)
        except pynvml.NVMLError as error:
            return None, _worth_asking_again(function.__name__, error)
        except UnicodeDecodeError:
            return None, True
        if type(answer) is int:
            return available(answer), True
        return answer, True

    def device(self, handle: Any, place: str) -> NvmlDevice:
        """Return the GPU (or MIG device) behind an NVML handle; `place` is where it is, as a message names it."""
        return NvmlDevice(self, handle, place)


class NvmlDevice:
    """One GPU: its questions, what it does not support, and what was wrong with it since `problem` was last cleared."""

    def __init__(self, nvml: Nvml, handle: Any, place: str) -> None:
        self.handle = handle
        self.place = place
        self.problem: str | None = None
        self._nvml = nvml
        self._absent: dict[Any, float] = {}
        self._told: set[str] = set()

    def query(self, function: Callable[..., Any], *args: Any, nothing: Any = None) -> Any:
        """Return a reading, None where the GPU does not support it, or `nothing` where it has none at this moment.

        An error that concerns this one reading is logged once and is a None like the others: some drivers answer
        "Unknown Error" for something that they merely do not know.

        Raises GpuLostError, NvmlDeadError.
        """
        try:
            return self._ask(function, args, nothing)
        except GpuFaultError as error:
            self._tell_once(function.__name__, error)
            return None

    def require(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return a reading that every healthy GPU has; an unexpected error is kept in `problem`.

        Raises GpuLostError, NvmlDeadError.
        """
        try:
            return self._ask(function, args, None)
        except GpuFaultError as error:
            self.problem = str(error)
            return None

    def fill(self, buffer: Any, function: Callable[..., Any], *args: Any) -> bool:
        """Have NVML write into a buffer, the last argument of the function; tell whether it did, otherwise as `query`.

        Raises GpuLostError, NvmlDeadError.
        """
        try:
            return self._ask(function, args, None, buffer) is not None
        except GpuFaultError as error:
            self._tell_once(function.__name__, error)
            return False

    def fields(self, ids: Sequence[Field]) -> dict[Field, int | None]:
        """Return several field values (`NVML_FI_...`) with one call; a field with a scope is a pair (id, scope).

        Raises GpuLostError, NvmlDeadError.
        """
        now = time.monotonic()
        horizon = now - RETRY_ABSENT_AFTER_S
        wanted = tuple(field for field in ids if self._absent.get(field, horizon) <= horizon)
        values = self.query(pynvml.nvmlDeviceGetFieldValues, wanted) if wanted else None
        answers: dict[Field, int | None] = dict.fromkeys(ids)
        for field, value in zip(wanted, values or (), strict=False):
            if value.nvmlReturn == pynvml.NVML_SUCCESS:
                answers[field] = _field_value(value)
            elif value.nvmlReturn in _LOST:
                raise GpuLostError("nvmlDeviceGetFieldValues: GPU is lost")
            elif value.nvmlReturn in _ABSENT_FIELD:
                self._absent[field] = now
        return answers

    def forget_absent(self) -> None:
        """Ask again for what was not supported, as after a change of the GPU's mode."""
        self._absent.clear()

    def _ask(self, function: Callable[..., Any], args: tuple[Any, ...], nothing: Any, *buffers: Any) -> Any:
        key = (function, args) if args else function
        absent_since = self._absent.get(key)
        if absent_since is not None:
            if time.monotonic() - absent_since < RETRY_ABSENT_AFTER_S:
                return None
            del self._absent[key]
        answer, worth_asking_again = self._nvml.call(function, (self.handle, *args, *buffers), self.place)
        if answer is None:
            if worth_asking_again:
                return nothing
            self._absent[key] = time.monotonic()
        return answer

    def _tell_once(self, name: str, error: GpuFaultError) -> None:
        if name not in self._told:
            self._told.add(name)
            logger.info("a reading is left out: %s", error)


def _worth_asking_again(name: str, error: pynvml.NVMLError) -> bool:
    code = error.value
    if code in _ABSENT:
        return False
    if code in _NOTHING_NOW:
        return True
    if code in _LOST:
        raise GpuLostError(f"{name}: {error}") from error
    if code in _DEAD:
        raise NvmlDeadError(f"NVML no longer answers ({error}): it is started again") from error
    raise GpuFaultError(f"{name}: {error}") from error


def available(value: int) -> int | None:
    """Return the value, or None where it is one of NVML's marks for "not available"."""
    return None if value in (UINT_NOT_AVAILABLE, ULONGLONG_NOT_AVAILABLE) else value


def _field_value(value: Any) -> int | None:
    member = _FIELD_MEMBERS.get(value.valueType)
    return available(int(getattr(value.value, member))) if member else None
