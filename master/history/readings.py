"""Which readings have a history, and the whole numbers that they are kept as.

From here on a reading is an integer: so many quanta, or GAP where nothing was measured. A quantum is finer than what
the hardware tells (NVML gives whole percents, degrees and MHz, and memory in pages); means need the digit more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from gpumon.messages import GpuReading, HostReading

# Values stay within half of this on both sides, so that differences of two fit 32 bits.
GAP = -(2**29)
_MOST = 2**29 - 1

Row = Sequence[int]


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading with a history: its name in the messages, and `per_unit` quanta a `unit` of it.

    `code` names it in the database and is never given to another.
    """

    name: str
    code: int
    per_unit: int = 10
    unit: int = 1

    def restore(self, quanta: float) -> float:
        """Return the value in the unit that the name carries."""
        return quanta * self.unit / self.per_unit


_MIB = 2**20

# New ones are added at the end: minutes that were kept before are read as not having them.
GPU_READINGS = (
    Reading("utilization_percent", 0),
    Reading("memory_used_bytes", 1, 1, _MIB),
    Reading("temperature_c", 2),
    Reading("power_w", 3),
    Reading("memory_temperature_c", 4),
    Reading("sm_clock_mhz", 5, 1),
    Reading("fan_percent", 6),
    Reading("memory_utilization_percent", 7),
)
HOST_READINGS = (
    Reading("cpu_percent", 32),
    Reading("load_1m", 33, 100),
    Reading("memory_used_bytes", 34, 1, _MIB),
    Reading("disk_used_bytes", 35, 1, _MIB),
    Reading("network_rx_bytes_per_s", 36, 1, 256),
    Reading("network_tx_bytes_per_s", 37, 1, 256),
)

# The host's own key among a worker's cards; no card's uuid is empty.
HOST = ""


def readings_of(key: str) -> tuple[Reading, ...]:
    """Return what is kept for a card (its uuid) or the host."""
    return HOST_READINGS if key == HOST else GPU_READINGS


class Quantiser:
    """Turns a message's readings into a row of quanta, in the order of the readings."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._values: Callable[[Any], tuple[float | None, ...]] = attrgetter(*(reading.name for reading in readings))
        # A whole factor keeps whole readings whole, and dividing by a power of two is exact.
        self._factors = tuple(
            reading.per_unit if reading.unit == 1 else reading.per_unit / reading.unit for reading in readings
        )
        self._nothing = (None,) * len(readings)

    def row(self, message: GpuReading | HostReading) -> list[int] | None:
        """Return the row, None where nothing was measured; what no hardware can mean is held at the bounds."""
        values = self._values(message)
        if values == self._nothing:
            return None
        try:
            row = [
                GAP if value is None else round(value * factor)
                for value, factor in zip(values, self._factors, strict=True)
            ]
        except (OverflowError, ValueError):  # a number of hundreds of digits, or infinite
            return [_bounded(value, factor) for value, factor in zip(values, self._factors, strict=True)]
        if max(row) > _MOST or min(row) < GAP:
            return [quanta if quanta == GAP else max(-_MOST, min(quanta, _MOST)) for quanta in row]
        return row


def _bounded(value: float | None, factor: float) -> int:
    most = _MOST / factor
    if value is None:
        return GAP
    if abs(value) < most:
        return round(value * factor)
    return _MOST if value >= most else -_MOST if value <= -most else GAP  # NaN is neither


GPU_QUANTISER = Quantiser(GPU_READINGS)
HOST_QUANTISER = Quantiser(HOST_READINGS)
