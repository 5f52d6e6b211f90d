"""The three comparisons, one after the other in one run."""

from __future__ import annotations

from bench.peers.fleet import fleet
from bench.peers.page import page
from bench.peers.sampling import sampling
from bench.report import Result


def peers() -> list[Result]:
    """Return what an agent's sample, the fleet's path and the page give beside those of others."""
    return [sampling(), fleet(), page()]
