"""What is said about figures: a missed target is said plainly, and costs are those of the process and its children."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from bench.children import Children
from bench.delivery import quantile
from bench.machine import this_machine
from bench.processes import Meter, cpu_s
from bench.report import Figure, Result, section
from tests.support import eventually

BURN = "import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\ntime.sleep(60)"
WITH_A_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(seconds=0.3)!r}])"


def _result(value: float, target: float | None) -> Result:
    figures = [Figure("latency", value, "ms", target)]
    return Result(name="x", title="t", about="a", command="c", figures=figures)


def test_a_missed_target_is_said_plainly() -> None:
    assert "Target missed: latency" in section(_result(51.0, 50))
    assert "missed" not in section(_result(49.0, 50))
    assert "missed" in section(_result(1.0, 0))
    assert "missed" not in section(_result(0.0, 0))
    assert "missed" not in section(_result(1e9, None))


def test_a_result_comes_back_from_its_file_as_it_was() -> None:
    result = _result(1.5, 2.0)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


def test_the_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert machine.cpu


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert quantile(values, 0.5) == 50.0
    assert quantile(values, 0.99) == 99.0
    assert quantile([3.0], 0.99) == 3.0


def test_the_cost_of_a_process_includes_that_of_its_children(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        process = children.start("parent", [sys.executable, "-c", WITH_A_CHILD])
        meter = Meter({"parent": process.pid})
        meter.start()
        eventually(lambda: "done" in children.log("parent").read_text())
        (cost,) = meter.stop()
    assert cost.cpu_s >= 0.2
    assert cost.rss_bytes >= cost.pss_bytes > 2**20
    assert process.poll() is not None


def test_children_end_with_the_block_that_started_them(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    try:
        with Children(tmp_path) as children:
            started += [children.start(name, ["sleep", "60"]) for name in ("one", "two")]
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(process.poll() is not None for process in started)
    assert cpu_s(started[0].pid) == 0.0
