"""Packing columns of whole numbers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.history.columns import DamagedColumnsError, pack, unpack
from master.history.readings import GAP

NUMBERS = st.integers(GAP, 2**29 - 1)


@given(
    st.integers(0, 80).flatmap(
        lambda length: st.dictionaries(
            st.integers(0, 255), st.lists(NUMBERS, min_size=length, max_size=length), min_size=1, max_size=8
        )
    )
)
def test_what_is_packed_comes_out_again(columns: dict[int, list[int]]) -> None:
    length, found = unpack(pack(columns))
    assert length == len(next(iter(columns.values())))
    for number, column in columns.items():
        assert found.get(number, [GAP] * length) == column


def test_only_columns_that_are_wanted_come_out() -> None:
    assert unpack(pack({1: [1, 2], 2: [3, 4], 7: [GAP, GAP]}), {2, 7, 9}) == (2, {2: [3, 4]})


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_or_read(data: bytes) -> None:
    with contextlib.suppress(DamagedColumnsError):
        unpack(data)


@pytest.mark.parametrize("cut", [0, 1, 3, 6, 20, -1])
def test_cut_columns_are_refused(cut: int) -> None:
    with pytest.raises(DamagedColumnsError, match="columns"):
        unpack(pack({1: list(range(60)), 2: list(range(0, 6000, 100))})[:cut])


def test_an_hour_of_a_busy_card_takes_little() -> None:
    walk = [400 + 7 * (minute % 13) for minute in range(60)]
    assert len(pack({number: [value + number for value in walk] for number in range(25)})) < 60 * 30
