"""The three comparisons, one after the other in one run."""

from __future__ import annotations

from collections.abc import Iterator

from bench.peers.fleet import fleet
from bench.peers.page import page
from bench.peers.sampling import sampling
from bench.report import Result


def peers() -> Iterator[Result]:
    """Give what an agent's sample, the fleet's path and the page cost beside those of others, each when it is done."""
    yield sampling()
    yield fleet()
    yield page()
