"""From an agent's publish to the Socket.IO client, through broker, master and page, under a steady load."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Children, Helper
from bench.deployment import USER, Deployment
from bench.processes import Cost, Meter
from bench.report import Figure, Result

SHORTEST_WARM_UP_S = 5.0
SETTLE_S = 2.0
HEAR_TIMEOUT_S = 150.0
GPUS = 8


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    latencies_s: list[float]
    published: int
    lost: int
    not_shown: int
    load: dict[str, Any]
    viewer: dict[str, Any]
    payload_bytes: int
    costs: list[Cost]
    others_cpu_percent: float


def fleet() -> Result:
    """Watch 1,000 workers at the default interval."""
    run = deliver(workers=1000, interval_s=5.0, seconds=60.0)
    return result_of(
        "fleet",
        "1,000 workers x 8 GPUs at 5 s",
        run,
        [
            Figure("latency p50", 1000 * quantile(run.latencies_s, 0.5), "ms"),
            Figure("latency p99", 1000 * quantile(run.latencies_s, 0.99), "ms", target=1000),
            Figure("latency max", 1000 * max(run.latencies_s), "ms"),
        ],
    )


def freshness() -> Result:
    """Watch a small fleet at 1 Hz."""
    run = deliver(workers=10, interval_s=1.0, seconds=60.0)
    worst = deliver(workers=10, interval_s=1.0, seconds=20.0, together=True)
    return result_of(
        "freshness",
        "10 workers x 8 GPUs at 1 Hz",
        run,
        [
            Figure("latency p50", 1000 * quantile(run.latencies_s, 0.5), "ms", target=50),
            Figure("latency p99", 1000 * quantile(run.latencies_s, 0.99), "ms"),
            Figure("latency max", 1000 * max(run.latencies_s), "ms"),
            Figure(
                "latency p50, all ten at the same moment (20 s)",
                1000 * quantile(worst.latencies_s, 0.5),
                "ms",
                target=50,
            ),
        ],
    )


def deliver(
    workers: int,
    interval_s: float,
    seconds: float,
    *,
    together: bool = False,
    tls: bool = False,
    kind: type[Deployment] = Deployment,
) -> Run:
    """Publish from `workers` workers with one viewer on the fleet view, for `seconds` after a warm-up.

    Each worker publishes at a moment of the interval by chance, or all `together`, over TLS or not.
    """
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = kind(Path(name), children, tls=tls)
        deployment.add_accounts(workers)
        deployment.start()
        load, viewer, payload_bytes = watched_load(children, deployment, interval_s, together=together)
        pids = {**deployment.pids(), "load generator": load.process.pid, "viewer": viewer.process.pid}
        meter = Meter(pids)
        meter.start()
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        costs = meter.stop()
        children.check()
        published, seen = stopped(load, viewer)
    shown, last = seen["last_times"], published["last_times"]
    return Run(
        latencies_s=latencies_s(seen, begin, end),
        published=published["published"],
        lost=published["published"] - len(seen["samples"]),
        not_shown=sum(shown.get(worker_id) != moment for worker_id, moment in last.items()),
        load=published,
        viewer=seen,
        payload_bytes=payload_bytes,
        costs=costs,
        others_cpu_percent=meter.others_cpu_percent,
    )


def watched_load(
    children: Children, deployment: Deployment, interval_s: float, *, together: bool = False
) -> tuple[Helper, Helper, int]:
    """Start the load of all workers and a viewer of the fleet view, and let them warm up.

    Return the load, the viewer, and the bytes of a sample.
    """
    load = Helper(children, "load", load_command(deployment, interval_s, together=together))
    load.hear("connected", HEAR_TIMEOUT_S)
    viewer_command = [sys.executable, "-m", "bench.viewer", "--page", deployment.page, "--user", USER]
    viewer = Helper(children, "viewer", viewer_command)
    viewer.tell(deployment.password)
    viewer.hear("watching", HEAR_TIMEOUT_S)
    load.tell("publish")
    payload_bytes = load.hear("publishing", HEAR_TIMEOUT_S)["payload_bytes"]
    time.sleep(max(interval_s, SHORTEST_WARM_UP_S))
    return load, viewer, payload_bytes


@contextmanager
def unwatched(workers: int, interval_s: float) -> Iterator[tuple[Children, Deployment, Helper]]:
    """Have `workers` workers publish while nobody looks: give the processes, the deployment and the load.

    All of it ends with the block.
    """
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = Deployment(Path(name), children)
        deployment.add_accounts(workers)
        deployment.start()
        load = Helper(children, "load", load_command(deployment, interval_s))
        load.hear("connected", HEAR_TIMEOUT_S)
        load.tell("publish")
        load.hear("publishing", HEAR_TIMEOUT_S)
        yield children, deployment, load


def stopped(load: Helper, viewer: Helper) -> tuple[dict[str, Any], dict[str, Any]]:
    """End the load, and the viewer once the last sample has had time to come; return what each says of it."""
    load.tell("stop")
    published = load.hear("stopped", HEAR_TIMEOUT_S)
    time.sleep(SETTLE_S)
    viewer.tell("stop")
    seen = viewer.hear("stopped", HEAR_TIMEOUT_S)
    viewer.end()
    load.end()
    return published, seen


def latencies_s(seen: dict[str, Any], begin: float, end: float) -> list[float]:
    """Return those of the viewer's samples of this time, in seconds and in order; infinity where it saw none."""
    return sorted(latency for moment, latency in seen["samples"] if begin <= moment < end) or [float("inf")]


def load_command(deployment: Deployment, interval_s: float, *, together: bool = False) -> list[str]:
    """Return the command of a load generator for all workers' accounts of a deployment."""
    command = [sys.executable, "-m", "bench.load", *deployment.way_in(), "--accounts", str(deployment.accounts_file)]
    command += ["--interval", str(interval_s), "--gpus", str(GPUS)]
    return [*command, "--together"] if together else command


def quantile(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least this share of an ordered list does not exceed (nearest rank)."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def result_of(name: str, title: str, run: Run, figures: list[Figure]) -> Result:
    """Return what one run gave: first these figures, then what was lost on the way."""
    load = run.load
    return Result(
        name=name,
        title=title,
        about=(
            f"Each worker publishes {run.payload_bytes:,} bytes a sample (8 GPUs, 3 processes each), retained, at its "
            "own moment of the interval, by chance, and is subscribed to its own `cmd` and `status` and to `all/cmd`, "
            "as agents are. One Socket.IO client watches the whole fleet. "
            f"Latencies of {len(run.latencies_s):,} samples in 60 s after a warm-up; losses are counted over the whole "
            "run: a sample that never reached the client in any row, and a worker whose last sample is not what the "
            "client shows at the end."
        ),
        command=f".venv/bin/python -m bench {name}",
        figures=[
            *figures,
            Figure("samples published", run.published, ""),
            Figure("samples lost", run.lost, "", target=0),
            Figure("workers whose last sample is not shown", run.not_shown, "", target=0),
            Figure("connections lost", load["lost_connections"] + run.viewer["disconnects"], "", target=0),
            Figure("samples not sent since the broker did not read", load["skipped"], "", target=0),
            Figure("publish behind its time, p99", 1000 * load["lateness_p99_s"], "ms"),
            Figure("pushes to the client", run.viewer["pushes"], ""),
        ],
        processes=run.costs,
        others_cpu_percent=run.others_cpu_percent,
    )
