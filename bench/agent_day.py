"""Whether an agent grows: a day of samples at speed, with the memory that it holds at each hour."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.children import Children, Helper
from bench.deployment import Deployment
from bench.gpus import GPUS, PROCESSES_PER_GPU, standin_environment
from bench.report import Figure, Result
from gpumon.files import write_secret

HOURS = 24
HOUR_TIMEOUT_S = 300.0


def agent_day() -> Result:
    """Measure a day, and another with Python's allocations traced."""
    plain = _day(HOURS)
    traced = _day(HOURS, "--trace")
    first, half, last = plain[0], plain[HOURS // 2 - 1], plain[-1]
    grown = max(0.0, (last["rss"] - half["rss"]) / 1e6)
    figures = [
        Figure("memory (RSS) after the first hour", first["rss"] / 1e6, "MB"),
        Figure("memory (RSS) after half of the day", half["rss"] / 1e6, "MB"),
        Figure("memory (RSS) after the day", last["rss"] / 1e6, "MB"),
        Figure("more after the day than after half of it", grown, "MB", target=0.5),
        Figure("blocks of Python's allocator after the first hour", first["blocks"], ""),
        Figure("blocks of Python's allocator after the day", last["blocks"], ""),
        Figure("traced by tracemalloc after the first hour", traced[0]["traced"] / 1e3, "KB"),
        Figure("traced by tracemalloc after the day", traced[-1]["traced"] / 1e3, "KB"),
        Figure("threads and open files after the first hour", first["threads"] + first["descriptors"], ""),
        Figure("threads and open files after the day", last["threads"] + last["descriptors"], ""),
        Figure("CPU of a sample", 1e3 * last["cpu_s"] / (HOURS * 3600), "ms"),
    ]
    hours = ", ".join(f"{each['rss'] / 1e6:.1f}" for each in plain)
    traced_hours = ", ".join(f"{each['traced'] / 1e3:.0f}" for each in traced)
    return Result(
        name="agent-day",
        title="an agent for a day",
        about=(
            f"{HOURS * 3600:,} samples of {GPUS} GPUs by the agent's own sampler over the stand-in for NVML, published "
            "to the embedded broker, one after the other at speed on a clock that jumps by a second between them. "
            "Processes change each minute; a card is lost for 5 minutes every 2 hours, MIG is on for 20 minutes every "
            "3 hours, the driver goes away for a minute every 6 hours, an XID comes each hour. The process holds what "
            "describes that day too, so what counts is what it holds more; the second day is one with tracemalloc."
        ),
        command=".venv/bin/python -m bench agent-day",
        figures=figures,
        remarks=[f"RSS at the hours, MB: {hours}.", f"Traced at the hours, KB: {traced_hours}."],
    )


def _day(hours: int, *flags: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as temporary, Children(Path(temporary)) as children:
        folder = Path(temporary)
        environment = standin_environment(folder, children)
        jobs = [children.start(f"process-{number}", ["sleep", "7200"]) for number in range(GPUS * PROCESSES_PER_GPU)]
        deployment = Deployment(folder, children)
        deployment.add_accounts(1)
        deployment.start_broker()
        ((worker_id, token),) = json.loads(deployment.accounts_file.read_text()).items()
        write_secret(folder / "token.txt", token)
        command = [sys.executable, "-m", "bench.day_of_samples", "--folder", str(folder / "agent")]
        command += ["--port", str(deployment.mqtt_port), "--worker-id", worker_id, "--gpus", str(GPUS)]
        command += ["--token-file", str(folder / "token.txt"), "--hours", str(hours), *flags]
        command += ["--pids", *(str(job.pid) for job in jobs)]
        day = Helper(children, "day", command, environment)
        return [day.hear("hour", HOUR_TIMEOUT_S) for _ in range(hours)]
