"""XIDs and double-bit ECC errors, as NVML's event set reports them the moment they happen.

An XID is the number under which the NVIDIA driver reports a GPU error to the kernel log (NVIDIA "XID Errors" guide).
NVML answers with events only by waiting, so this runs in a thread of its own.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import pynvml

from agent.nvml import GpuFaultError, GpuLostError, Nvml, NvmlDeadError, NvmlDevice
from agent.samplers.base import SamplerError
from gpumon.messages import Event

logger = logging.getLogger(__name__)

WAIT_MS = 500
"""How long NVML is waited for at a time, and so about the longest that stopping takes."""
PAUSE_S = 1.0
"""Pause after an error: with a lost GPU in the set, NVML's wait returns at once."""
MAX_EVENTS = 1000
"""Events kept for `events()`; a GPU in trouble can raise one XID over and over."""

_WANTED = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError

XID_MEANINGS = {
    13: "graphics engine exception, usually a fault of the program",
    31: "memory page fault, usually an invalid address used by the program",
    32: "corrupted push buffer: driver, PCIe or program",
    38: "driver firmware error",
    43: "GPU stopped working on a program's channel, usually a fault of the program",
    45: "work of a program was cleaned up, often after another error",
    48: "double-bit ECC error, which cannot be corrected",
    56: "display engine error",
    61: "internal micro-controller breakpoint or warning",
    62: "internal micro-controller halt",
    63: "a faulty memory row was recorded for remapping or retirement",
    64: "a faulty memory row could not be remapped or retired",
    68: "video processor exception",
    69: "graphics engine class error",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    92: "many single-bit ECC errors",
    94: "contained memory error: the program that met it was ended",
    95: "uncontained memory error: the GPU needs a reset",
    109: "context switch timeout",
    119: "GPU system processor does not answer the driver",
    120: "GPU system processor error",
    121: "error on the link between CPU and GPU",
    122: "error of the GPU's flash memory interface",
    140: "unrecovered ECC error",
    143: "GPU could not be initialised",
    154: "the action needed to recover the GPU has changed",
}


class XidWatcher:
    """Waits for events of the GPUs it is started with; events and last XIDs are kept over stops and starts."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._last_xids: dict[str, int] = {}

    def start(self, devices: Mapping[str, NvmlDevice]) -> None:
        """Watch these GPUs, by uuid. Those that report no events are left out; without any, nothing is started."""
        if self._thread is not None:
            return
        try:
            event_set = self._nvml.query(pynvml.nvmlEventSetCreate)
            if event_set is None:
                return
            uuids = {
                _address(device.handle): uuid for uuid, device in devices.items() if self._register(device, event_set)
            }
            if not uuids:
                self._nvml.query(pynvml.nvmlEventSetFree, event_set)
                return
        except SamplerError as error:
            logger.warning("XIDs are not watched: %s", error)
            return
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(event_set, uuids, self._stopping), name="xid", daemon=True
        )
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> bool:
        """Stop watching; tell whether the thread has ended, after which NVML may be closed. Safe to call twice."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def events(self) -> list[Event]:
        """Return what has happened since the last call, oldest first."""
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def last_xid(self, uuid: str) -> int | None:
        """Return the last XID seen of a GPU since the agent started, None where there was none."""
        return self._last_xids.get(uuid)

    def _register(self, device: NvmlDevice, event_set: Any) -> bool:
        try:
            wanted = (device.query(pynvml.nvmlDeviceGetSupportedEventTypes) or 0) & _WANTED
            if not wanted:
                return False
            _, registered = self._nvml.call(pynvml.nvmlDeviceRegisterEvents, (device.handle, wanted, event_set))
        except (GpuLostError, GpuFaultError) as error:
            logger.info("a GPU's XIDs are not watched: %s", error)
            return False
        return registered

    def _watch(self, event_set: Any, uuids: Mapping[int, str], stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                try:
                    data, worth_waiting = self._nvml.wait(pynvml.nvmlEventSetWait_v2, (event_set, WAIT_MS))
                except (GpuLostError, GpuFaultError):
                    stopping.wait(PAUSE_S)
                    continue
                if data is not None:
                    self._take(data, uuids)
                elif not worth_waiting:
                    logger.warning("XIDs are not watched: this driver cannot wait for events")
                    return
            self._nvml.wait(pynvml.nvmlEventSetFree, (event_set,))
        except (GpuLostError, GpuFaultError, NvmlDeadError) as error:
            logger.debug("the event set is given up: %s", error)

    def _take(self, data: Any, uuids: Mapping[int, str]) -> None:
        uuid = uuids.get(_address(data.device))
        if data.eventType & pynvml.nvmlEventTypeXidCriticalError:
            xid = int(data.eventData)
            if uuid is not None:
                self._last_xids[uuid] = xid
            text = XID_MEANINGS.get(xid, "see NVIDIA's list of XID errors")
            self._events.append(Event(time=time.time(), kind="xid", gpu=uuid, value=xid, text=text))
        elif data.eventType & pynvml.nvmlEventTypeDoubleBitEccError:
            text = "double-bit ECC error, which cannot be corrected"
            self._events.append(Event(time=time.time(), kind="ecc", gpu=uuid, text=text))


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
