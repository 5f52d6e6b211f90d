"""Columns of whole numbers, packed: differences of neighbours, split into bytes of equal weight, deflated.

Neighbours differ by little, so the upper bytes of the differences are all alike, and deflate (RFC 1951) makes next to
nothing of them. Every step runs in C, without numpy.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, chain
from operator import sub

from gpumon.errors import GpumonError
from master.history.readings import GAP

# Version, length of the columns, number of columns; then a byte of each column's id, then what was deflated.
_HEAD = struct.Struct("<BHB")
_VERSION = 1
_WIDTH = 4


class DamagedColumnsError(GpumonError):
    """Bytes that `pack` has not made."""

    see = "troubleshooting.md#the-database-does-not-answer"


def pack(columns: Mapping[int, Sequence[int]], level: int = 6) -> bytes:
    """Return columns of the same length (up to 65,535) by id (up to 255); those of gaps alone are left out."""
    kept = {number: column for number, column in columns.items() if column.count(GAP) < len(column)}
    length = max((len(column) for column in columns.values()), default=0)
    differences = array("i")
    for column in kept.values():
        differences.extend(map(sub, column, chain((0,), column)))
    raw = _little_endian(differences).tobytes()
    planes = b"".join(raw[plane::_WIDTH] for plane in range(_WIDTH))
    return _HEAD.pack(_VERSION, length, len(kept)) + bytes(kept) + zlib.compress(planes, level)


def unpack(data: bytes, wanted: Collection[int] | None = None) -> tuple[int, dict[int, list[int]]]:
    """Return the columns' length, and those that are wanted (all by default) and not of gaps alone.

    Raises DamagedColumnsError.
    """
    try:
        version, length, number = _HEAD.unpack_from(data)
        numbers = data[_HEAD.size : _HEAD.size + number]
        planes = zlib.decompress(memoryview(data)[_HEAD.size + number :])
    except (struct.error, zlib.error) as error:
        raise DamagedColumnsError(f"columns cannot be unpacked: {error}") from error
    total = length * len(numbers)
    if version != _VERSION or len(planes) != _WIDTH * total:
        raise DamagedColumnsError(f"columns of version {version} with {len(planes)} bytes are not known")
    raw = bytearray(len(planes))
    for plane in range(_WIDTH):
        raw[plane::_WIDTH] = planes[plane * total : (plane + 1) * total]
    differences = array("i")
    differences.frombytes(bytes(raw))
    _little_endian(differences)
    return length, {
        column: list(accumulate(differences[place * length : (place + 1) * length]))
        for place, column in enumerate(numbers)
        if wanted is None or column in wanted
    }


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
