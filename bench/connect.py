"""A whole fleet that connects at once, as after a restart of the broker."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.children import Children, Helper
from bench.delivery import load_command
from bench.deployment import Deployment
from bench.processes import Meter
from bench.report import Figure, Result

WORKERS = 3000
TIMEOUT_S = 150.0


def connect() -> Result:
    """Connect 3,000 workers at the same moment; nobody waits for anybody."""
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = Deployment(Path(name), children)
        deployment.add_accounts(WORKERS)
        deployment.start()
        meter = Meter(deployment.pids())
        meter.start()
        load = Helper(children, "load", load_command(deployment, 5.0))
        connected = load.hear("connected", TIMEOUT_S)
        costs = meter.stop()
        load.end()
    return Result(
        name="connect",
        title="3,000 workers connect at once",
        about=(
            "All open their connection at the same moment, log in, subscribe to three topics and publish status and "
            "inventory. Measured until each has its SUBACK; CPU is over that time and the load generator's own start."
        ),
        command=".venv/bin/python -m bench connect",
        figures=[
            Figure("the first has its SUBACK after", connected["first_s"], "s"),
            Figure("half have it after", connected["half_s"], "s"),
            Figure("all have it after", connected["all_s"], "s", target=15),
        ],
        processes=costs,
        others_cpu_percent=None,
    )
