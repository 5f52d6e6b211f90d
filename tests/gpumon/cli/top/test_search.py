"""What the terminal's search finds; the page's finds the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.cli.top.search import Search
from tests.gpumon.cli.top.rows import small_fleet


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["gpu-10", "gpu-9", "gpu-2", "gpu-1"]),
        ("rack=3", ["gpu-10"]),
        ("label:rack=4", ["gpu-9"]),
        ("label:rack", ["gpu-10", "gpu-9"]),
        ("-label:rack", ["gpu-2", "gpu-1"]),
        ("temp>80", ["gpu-10"]),
        ("temp>=88c", ["gpu-10"]),
        ("free", ["gpu-9", "gpu-2"]),
        ("held", ["gpu-9"]),
        ("lost", ["gpu-2"]),
        ("-lost", ["gpu-10", "gpu-9", "gpu-1"]),
        ("state:offline", ["gpu-1"]),
        ('state:"GPU lost"', ["gpu-2"]),
        ("user:RESEARCH -state:offline", ["gpu-10", "gpu-9"]),
        ("user:research free", []),
        ("gpus=1", ["gpu-1"]),
        ("mem>40g -state:offline", ["gpu-10", "gpu-9"]),
        ("power<100", ["gpu-9", "gpu-2"]),
        ("h200 worker:gpu-9", ["gpu-9"]),
        ("gpu:1 -lost", ["gpu-10", "gpu-9"]),
        ("nothing-like-it", []),
    ],
)
def test_workers_are_found_by_readings_users_labels_and_words(text: str, found: list[str]) -> None:
    search = Search(text)
    assert [row.id for row in small_fleet() if search.has_worker(row)] == found


def test_of_cards_those_alone_are_found_that_hold_all_of_it() -> None:
    search = Search("user:research temp>80")
    assert [(row.id, gpu.index) for row in small_fleet() for gpu in row.gpus if search.has_card(row, gpu)] == [
        ("gpu-10", 0)
    ]


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_search(text: str) -> None:
    search = Search(text)
    for row in small_fleet():
        search.has_worker(row)
