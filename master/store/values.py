"""Values that workers send and databases must be able to hold."""

from __future__ import annotations

_MOST = 2**63 - 1


def fits(value: int | None) -> int | None:
    """Return the number, brought into the 64 bits that a column holds."""
    return None if value is None else max(-_MOST, min(value, _MOST))
