"""Readings as people read them in a terminal. What is not available is a dash; a true 0 is 0."""

from __future__ import annotations

from gpumon.cli.prefixed import printable

NONE = "-"
BLOCKS = "▁▂▃▄▅▆▇█"

# A shape and a word for each state, so that no colour is needed to tell them apart; the gravest first.
STATES = {
    "offline": "✕ offline",
    "gpu_lost": "! GPU lost",
    "degraded": "▲ telemetry broken",
    "stale": "◌ stale",
    "asleep": "z asleep",
    "online": "● online",
}


def percent(value: float | None) -> str:
    """Return a share of 100."""
    return NONE if value is None else f"{value:.0f} %"


def celsius(value: float | None) -> str:
    """Return a temperature."""
    return NONE if value is None else f"{value:.0f} °C"


def watts(value: float | None) -> str:
    """Return a power."""
    if value is None:
        return NONE
    return f"{value / 1000:.1f} kW" if value >= 10_000 else f"{value:.0f} W"


def gibibytes(value: float | None) -> str:
    """Return bytes in GiB, or TiB from 1,000 on."""
    if value is None:
        return NONE
    size = value / 2**30
    if size >= 1000:
        return f"{size / 1024:.1f} TiB"
    return f"{size:.1f} GiB" if size < 100 else f"{size:.0f} GiB"


def of(used: float | None, total: float | None) -> str:
    """Return used of total."""
    return NONE if used is None and total is None else f"{gibibytes(used)} / {gibibytes(total)}"


def share(used: float | None, total: float | None) -> float | None:
    """Return used / total in percent, None where one is missing."""
    return None if used is None or not total else 100 * used / total


def block(value: float | None) -> str:
    """Return one character as high as a share of 100; a dot where it is not known."""
    if value is None:
        return "·"
    return BLOCKS[min(int(value / 100 * len(BLOCKS)), len(BLOCKS) - 1)]


def age(seconds: float | None) -> str:
    """Return how long ago something was."""
    if seconds is None:
        return "never"
    if seconds < 2:
        return "now"
    for bound, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < bound:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} d ago"


def line(text: str | None) -> str:
    """Return what a worker has said as one line that cannot steer the terminal."""
    return NONE if text is None else " ".join(printable(text).split())


def ranges(numbers: list[int]) -> str:
    """Return numbers with neighbours joined: 0-3,5."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in parts)
