"""What is added up: amounts of time, memory and energy, in whole units that add up without error."""

from __future__ import annotations

from collections.abc import Sequence

# In the order of the columns of a row. `told` is what was held while it was known whether the card was busy, `metered`
# while it was known what it took. Milliseconds, MiB x seconds, and joules of one user at one place.
COLUMNS = ("held_ms", "busy_ms", "idle_ms", "told_ms", "metered_ms", "memory_mib_s", "energy_j")

Amounts = list[float]
"""Of each column so much; seconds, MiB seconds and joules while they are gathered in memory."""

HELD, BUSY, IDLE, TOLD, METERED, MEMORY, ENERGY = range(len(COLUMNS))
# From what is gathered to what is kept.
_SCALES = (1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1.0, 1.0)
# No honest hour comes near this, and sums over years of these still fit the 63 bits that a database adds up in.
_MOST = 1e12


def nothing() -> Amounts:
    """Return amounts of nothing."""
    return [0.0] * len(COLUMNS)


def add(into: Amounts, more: Sequence[float]) -> None:
    """Add to amounts in place."""
    for place, value in enumerate(more):
        into[place] += value


def to_kept(amounts: Sequence[float]) -> dict[str, int]:
    """Return gathered amounts by column, in the whole units that are kept."""
    return {
        name: round(min(value * scale, _MOST)) for name, value, scale in zip(COLUMNS, amounts, _SCALES, strict=True)
    }


def from_kept(values: Sequence[float | None]) -> Amounts:
    """Return what was kept (or a sum of it) as it is gathered."""
    return [float(value or 0) / scale for value, scale in zip(values, _SCALES, strict=True)]
