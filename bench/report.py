"""What a benchmark hands in, kept as `bench/results/<name>.json` and told in `bench/README.md`."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from bench.machine import Machine, this_machine
from bench.processes import Cost

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
README = FOLDER / "README.md"
BUSY_PERCENT = 10.0
BUSY_LOAD = 0.5

HEAD = """# Benchmarks

`make bench` runs them all, `.venv/bin/python -m bench NAME` one of them; each rewrites its file in `bench/results/` and
this page. Every part runs as its own process, started by the commands that people use, on this machine alone: what is
measured, the load and who watches share its cores. Memory is PSS (a page that n processes share counts 1/n), CPU is in
percent of one core, times are by one clock. Latency runs from the moment that is in the sample, just before it is
published, until the Socket.IO client has it.
"""


class Figure(msgspec.Struct, frozen=True):
    """One measured number; with a target it must be below that (or equal, where the target is 0)."""

    what: str
    value: float
    unit: str
    target: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; True where there is none."""
        return self.target is None or self.value < self.target or self.value == self.target == 0


class Result(msgspec.Struct, frozen=True):
    """A benchmark's figures, and what is needed to judge and repeat them."""

    name: str
    title: str
    about: str
    command: str
    figures: list[Figure]
    processes: list[Cost] = []
    remarks: list[str] = []
    others_cpu_percent: float | None = None
    load_before: float | None = None
    measured: float = msgspec.field(default_factory=time.time)
    machine: Machine = msgspec.field(default_factory=this_machine)


def write(result: Result) -> None:
    """Keep the result and tell it."""
    RESULTS.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result), indent=2)
    (RESULTS / f"{result.name}.json").write_bytes(text + b"\n")
    README.write_text(readme([msgspec.json.decode(path.read_bytes(), type=Result) for path in _files()]))


def readme(results: list[Result]) -> str:
    """Return the page about all results."""
    return "\n".join([HEAD, *(section(result) for result in results)])


def section(result: Result) -> str:
    """Return one result as Markdown."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result.measured))
    machine = result.machine
    lines = [
        f"## {result.name}: {result.title}",
        "",
        result.about,
        "",
        f"`{result.command}`, {when}, {machine.cores} cores of {machine.cpu}, {machine.memory_bytes / 1e9:.0f} GB, "
        f"{machine.system}, Python {machine.python}",
        "",
        *_table(["", "measured", "target", ""], [_row(figure) for figure in result.figures]),
    ]
    if result.processes:
        lines += [
            "",
            *_table(["process", "CPU, % of a core", "PSS, MB", "RSS, MB"], list(map(_cost, result.processes))),
        ]
    remarks = list(result.remarks)
    remarks += _disturbances(result)
    missed = [figure.what for figure in result.figures if not figure.is_met]
    if missed:
        remarks.append(f"**Target missed: {', '.join(missed)}.**")
    for remark in remarks:
        lines += ["", remark]
    return "\n".join([*lines, ""])


def _disturbances(result: Result) -> list[str]:
    """Say what else the machine did, where that was more than a little."""
    said = []
    if result.load_before is not None and result.load_before > BUSY_LOAD:
        said.append(f"The machine was not quiet before: the load average of a minute was {result.load_before:.1f}.")
    if result.others_cpu_percent is not None and result.others_cpu_percent > BUSY_PERCENT:
        said.append(
            f"The machine was not quiet: other processes used {result.others_cpu_percent:.0f} % of a core meanwhile."
        )
    return said


def _files() -> list[Path]:
    return sorted(RESULTS.glob("*.json"))


def _row(figure: Figure) -> list[str]:
    unit = f" {figure.unit}" if figure.unit else ""
    if figure.target is None:
        return [figure.what, f"{_number(figure.value)}{unit}", "", ""]
    below = f"{_number(figure.target)}{unit}"
    target = "0" if figure.target == 0 else f"under {below}"
    return [figure.what, f"{_number(figure.value)}{unit}", target, "met" if figure.is_met else "**missed**"]


def _cost(cost: Cost) -> list[str]:
    return [cost.name, f"{cost.cpu_percent:.1f}", f"{cost.pss_bytes / 1e6:.1f}", f"{cost.rss_bytes / 1e6:.1f}"]


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    line = "|".join("---" for _ in head)
    return [f"| {' | '.join(head)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)]
