"""A measure of gpumon beside that of a peer: two rows, and a sentence that says who is ahead, or why gpumon is not."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import Figure


@dataclass(frozen=True, slots=True)
class Beside:
    """Something of which less is better; `theirs` is None where the peer was not measured.

    `why` is told only where gpumon is not ahead.
    """

    what: str
    unit: str
    ours: float
    theirs: float | None
    why: str = ""

    def figures(self, us: str, peer: str) -> list[Figure]:
        """Return gpumon's figure, with the peer's as its target, and the peer's."""
        ours = Figure(f"{self.what}: {us}", self.ours, self.unit, target=self.theirs)
        if self.theirs is None:
            return [ours]
        return [ours, Figure(f"{self.what}: {peer}", self.theirs, self.unit)]

    def remarks(self, peer: str) -> list[str]:
        """Say who is ahead and by how much; nothing where the peer was not measured."""
        if self.theirs is None:
            return []
        said = f"{self.what}: gpumon {number(self.ours)} {self.unit}, {peer} {number(self.theirs)} {self.unit}"
        if self.ours < self.theirs:
            return [f"{said}: **ahead**, {_times(self.theirs, self.ours)}."]
        return [f"{said}: **not ahead**, {_times(self.ours, self.theirs)}. {self.why}".rstrip()]


def number(value: float) -> str:
    """Return a measure with as many digits as it is worth."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _times(more: float, less: float) -> str:
    if less <= 0:
        return f"by {number(more)}"
    return f"by a factor of {more / less:.2g}" if more >= 2 * less else f"by {100 * (more - less) / more:.2g} %"
