"""The resolutions in which roll-ups are kept, and how many of their buckets share a row of the database."""

from __future__ import annotations

from dataclasses import dataclass

from gpumon.settings import HistorySettings

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Resolution:
    """Buckets of `step_s`, of which a block holds those of `block_s`; times are whole multiples since 1970."""

    name: str
    step_s: int
    block_s: int

    @property
    def buckets(self) -> int:
        """Buckets of a block."""
        return self.block_s // self.step_s

    def block_of(self, start: int) -> int:
        """Return the start of the block in which a bucket is."""
        return start // self.block_s * self.block_s


# The open block of the coarser two is written anew each hour, so they are short enough for that to cost little.
MINUTES = Resolution("1min", 60, _HOUR_S)
TEN_MINUTES = Resolution("10min", 600, 12 * _HOUR_S)
HOURS = Resolution("1h", _HOUR_S, 2 * _DAY_S)
RESOLUTIONS = (MINUTES, TEN_MINUTES, HOURS)

# Minutes are folded into blocks by whole hours.
FOLDED_S = _HOUR_S


def kept_s(resolution: Resolution, settings: HistorySettings) -> float:
    """Return for how long a resolution is kept."""
    return {
        MINUTES: settings.minute_hours * _HOUR_S,
        TEN_MINUTES: settings.ten_minute_days * _DAY_S,
        HOURS: settings.hour_days * _DAY_S,
    }[resolution]
