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
TRACED_HOURS = 6
HOUR_TIMEOUT_S = 300.0
GROWN_PERCENT = 1.0


def agent_day() -> Result:
    """Measure a day, and the first hours of another with Python's allocations traced."""
    plain = _day(HOURS)
    traced = _day(TRACED_HOURS, "--trace")
    first, last = plain[0], plain[-1]
    half = plain[len(plain) // 2]
    figures = [
        Figure("memory (RSS) after the first hour", first["rss"] / 1e6, "MB"),
        Figure("after 12 hours", half["rss"] / 1e6, "MB"),
        Figure(f"after {HOURS} hours", last["rss"] / 1e6, "MB"),
        Figure("more from hour 12 to 24", max(0.0, (last["rss"] - half["rss"]) / 1e6), "MB", target=0.5),
        Figure("blocks of Python's allocator after the first hour", first["blocks"], ""),
        Figure(f"after {HOURS} hours", last["blocks"], ""),
        Figure("objects of the collector after the first hour", first["objects"], ""),
        Figure(f"after {HOURS} hours", last["objects"], ""),
        Figure("traced by tracemalloc after the first hour", traced[0]["traced"] / 1e3, "KB"),
        Figure(f"after {TRACED_HOURS} hours", traced[-1]["traced"] / 1e3, "KB"),
        Figure("threads, files open after the first hour", first["threads"] + first["descriptors"], ""),
        Figure(f"after {HOURS} hours", last["threads"] + last["descriptors"], ""),
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
            "3 hours, the driver goes away for a minute every 6 hours, an XID comes each hour."
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
