"""Prometheus' scrape of a large fleet that is live, and what it does to those who look at the page meanwhile."""

from __future__ import annotations

import http.client
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from bench.children import Children
from bench.delivery import GPUS, latencies_s, quantile, stopped, watched_load
from bench.deployment import USER, Deployment
from bench.errors import BenchmarkError
from bench.processes import Meter
from bench.report import Figure, Result
from master.accounts import open_accounts

WORKERS = 1000
INTERVAL_S = 5.0
QUIET_S = 20.0
SCRAPED_S = 40.0
SCRAPE_EACH_S = 5.0  # three times as often as Prometheus does by default
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Scrapes:
    """What was asked for, as Prometheus does, compressed."""

    times_s: list[float] = field(default_factory=list)
    last: bytes = b""

    def add(self, deployment: Deployment, token: str) -> None:
        """Scrape once; a scrape ends when its last byte is here. Raises BenchmarkError."""
        connection = http.client.HTTPConnection("127.0.0.1", deployment.page_port, timeout=TIMEOUT_S)
        began = time.monotonic()
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        self.last = answer.read()
        self.times_s.append(time.monotonic() - began)
        connection.close()
        if answer.status != 200:
            raise BenchmarkError(f"a scrape was answered {answer.status}: {self.last[:200]!r}")

    def text(self) -> bytes:
        """Return what the last one gave."""
        return zlib.decompress(self.last, 16 + zlib.MAX_WBITS)


def scrape() -> Result:
    """Watch 1,000 workers x 8 GPUs for a while, then go on while they are scraped each 5 s."""
    scrapes = Scrapes()
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = Deployment(Path(name), children)
        deployment.add_accounts(WORKERS)
        with open_accounts(deployment.data) as accounts:
            token = accounts.tokens.make(USER, "scrape")[1]
        deployment.start()
        load, viewer, _ = watched_load(children, deployment, INTERVAL_S)
        quiet = Meter(deployment.pids())
        quiet.start()
        begin = time.time()
        time.sleep(QUIET_S)
        middle = time.time()
        quiet_costs = quiet.stop()
        meter = Meter({**deployment.pids(), "load generator": load.process.pid, "viewer": viewer.process.pid})
        meter.start()
        while time.time() < middle + SCRAPED_S:
            due = time.monotonic() + SCRAPE_EACH_S
            scrapes.add(deployment, token)
            time.sleep(max(due - time.monotonic(), 0.0))
        end = time.time()
        costs = meter.stop()
        children.check()
        published, seen = stopped(load, viewer)
    without = latencies_s(seen, begin, middle)
    meanwhile = latencies_s(seen, middle, end)
    text = scrapes.text()
    times_s = sorted(scrapes.times_s)
    cpu_without = next(cost.cpu_percent for cost in quiet_costs if cost.name == "master and page")
    cpu = next(cost.cpu_percent for cost in costs if cost.name == "master and page")
    return Result(
        name="scrape",
        title="Prometheus scrapes 1,000 workers x 8 GPUs that are live",
        about=(
            f"Each worker publishes a sample of {GPUS} GPUs each {INTERVAL_S:.0f} s, and one Socket.IO client watches "
            f"the whole fleet. After {QUIET_S:.0f} s without, `/metrics` is asked for each {SCRAPE_EACH_S:.0f} s for "
            f"{SCRAPED_S:.0f} s, with an API token and compressed, as Prometheus does; a scrape ends when its last "
            "byte has arrived. Latency is from a sample's publication to the client."
        ),
        command=".venv/bin/python -m bench scrape",
        figures=[
            Figure("slowest scrape", times_s[-1], "s", target=1),
            Figure("scrape, median", quantile(times_s, 0.5), "s"),
            Figure("scrapes", len(times_s), ""),
            Figure("series", sum(not line.startswith(b"#") for line in text.splitlines()), ""),
            Figure("text", len(text) / 1e6, "MB"),
            Figure("sent", len(scrapes.last) / 1e6, "MB"),
            Figure("CPU of master and page without", cpu_without, "% of a core"),
            Figure("CPU for a scrape", (cpu - cpu_without) / 100 * (end - middle) / len(times_s), "s"),
            Figure("push latency p50 without", 1000 * quantile(without, 0.5), "ms"),
            Figure("push latency p50 meanwhile", 1000 * quantile(meanwhile, 0.5), "ms"),
            Figure("push latency p99 without", 1000 * quantile(without, 0.99), "ms"),
            Figure("push latency p99 meanwhile", 1000 * quantile(meanwhile, 0.99), "ms", target=1000),
            Figure("push latency max meanwhile", 1000 * meanwhile[-1], "ms"),
            Figure("samples lost", published["published"] - len(seen["samples"]), "", target=0),
            Figure("connections lost", published["lost_connections"] + seen["disconnects"], "", target=0),
        ],
        processes=costs,
        others_cpu_percent=meter.others_cpu_percent,
    )
