"""A Prometheus that scrapes pretended exporters, and what that costs."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Children, Helper, wait_until
from bench.delivery import HEAR_TIMEOUT_S
from bench.deployment import answers, free_port
from bench.errors import BenchmarkError
from bench.peers.places import program
from bench.processes import Cost, Meter

REFRESH_S = 5.0  # the least that Grafana lets a dashboard be set to unless its administrator allows less
STARTED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Scraped:
    """What one run gave; `alone` are the costs without somebody who looks."""

    version: str
    alone: list[Cost]
    alone_scrapes: int
    costs: list[Cost]
    scrapes: int
    latencies_s: list[float]
    ages_s: list[float]
    answers_s: list[float]
    answer_bytes: int
    text_bytes: int
    series: int
    down: int
    others_cpu_percent: float


def scraped(exporters: int, interval_s: float, alone_s: float, seconds: float) -> Scraped:
    """Let Debian's Prometheus scrape so many exporters, first alone, then with one dashboard open."""
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        command = [sys.executable, "-m", "bench.peers.exporters", "--exporters", str(exporters)]
        pretended = Helper(children, "exporters", command)
        listening = pretended.hear("listening", HEAR_TIMEOUT_S)
        url, pid = _start(children, Path(name), listening["port"], exporters, interval_s)
        time.sleep(3 * interval_s)
        wait_until(lambda: _value(url, "sum(up)") == exporters, "every target is up", STARTED_WITHIN_S, children)
        pids = {"Prometheus": pid, "pretended exporters": pretended.process.pid}
        alone, alone_scrapes, _ = _measure(pids, pretended, alone_s)
        dashboard_command = [sys.executable, "-m", "bench.peers.dashboard", "--prometheus", url]
        dashboard = Helper(children, "dashboard", [*dashboard_command, "--refresh", str(REFRESH_S)])
        dashboard.hear("watching", HEAR_TIMEOUT_S)
        time.sleep(REFRESH_S + 1)  # the first answer shows all of them for the first time, however old
        begin = time.time()
        costs, scrapes, others = _measure({**pids, "dashboard": dashboard.process.pid}, pretended, seconds)
        end = time.time()
        series = _value(url, "prometheus_tsdb_head_series") or _value(url, 'sum(scrape_samples_scraped{job="dcgm"})')
        down = exporters - int(_value(url, f"sum(min_over_time(up[{seconds:.0f}s]))"))
        version = _version(url)
        time.sleep(REFRESH_S + 1)  # so that each sample of this time has been in an answer
        dashboard.tell("stop")
        seen = dashboard.hear("stopped", HEAR_TIMEOUT_S)
        children.check()
    latencies_s = sorted(age for moment, age in seen["samples"] if begin <= moment < end)
    if not latencies_s:
        raise BenchmarkError("no answer of Prometheus showed a new sample")
    return Scraped(
        version=version,
        alone=alone,
        alone_scrapes=alone_scrapes,
        costs=costs,
        scrapes=scrapes,
        latencies_s=latencies_s,
        ages_s=sorted(seen["ages_s"]),
        answers_s=sorted(seen["answers_s"]),
        answer_bytes=seen["answer_bytes"],
        text_bytes=listening["text_bytes"],
        series=int(series),
        down=down,
        others_cpu_percent=others,
    )


def configuration(port: int, exporters: int, interval_s: float) -> dict[str, Any]:
    """Return Prometheus' configuration (YAML is JSON's superset): each exporter is a target with a path of its own."""
    groups = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"__metrics_path__": f"/{number}/metrics", "instance": f"load-{number:05d}"},
        }
        for number in range(exporters)
    ]
    interval = f"{interval_s:.0f}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [{"job_name": "dcgm", "static_configs": groups}],
    }


def _start(children: Children, folder: Path, exporters_port: int, exporters: int, interval_s: float) -> tuple[str, int]:
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(configuration(exporters_port, exporters, interval_s)))
    port = free_port()
    command = [program("prometheus", "prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    process = children.start("prometheus", command)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(f"{url}/-/ready"), "Prometheus is ready", STARTED_WITHIN_S, children)
    return url, process.pid


def _measure(pids: dict[str, int], pretended: Helper, seconds: float) -> tuple[list[Cost], int, float]:
    """Return the costs of a while, how many scrapes there were in it, and what others used meanwhile."""
    meter = Meter(pids)
    before = _scrapes(pretended)
    meter.start()
    time.sleep(seconds)
    costs = meter.stop()
    return costs, _scrapes(pretended) - before, meter.others_cpu_percent


def _scrapes(pretended: Helper) -> int:
    pretended.tell("count")
    return int(pretended.hear("count", HEAR_TIMEOUT_S)["scrapes"])


def _get(url: str, path: str, **arguments: str) -> Any:
    query = urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=HEAR_TIMEOUT_S) as answer:
        return json.load(answer)["data"]


def _value(url: str, expression: str) -> float:
    """Return the one value of an expression, 0 where there is none yet."""
    found = _get(url, "query", query=expression)["result"]
    return float(found[0]["value"][1]) if found else 0.0


def _version(url: str) -> str:
    return str(_get(url, "status/buildinfo")["version"])
