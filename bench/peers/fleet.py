"""The fleet's path beside Prometheus': the same number of machines at the same interval."""

from __future__ import annotations

import time

from bench.delivery import HEAR_TIMEOUT_S, deliver, quantile, unwatched
from bench.errors import BenchmarkError
from bench.peers.beside import Beside
from bench.peers.places import NotHereError
from bench.peers.prometheus import REFRESH_S, Scraped, scraped
from bench.processes import Meter
from bench.report import Figure, Result

WORKERS = 1000
INTERVAL_S = 5.0
ALONE_S = 30.0
SECONDS = 60.0
SERVERS = ("broker", "master and page")


def fleet() -> Result:
    """Let 1,000 workers publish to gpumon, and Prometheus scrape as many exporters."""
    alone_ms, ours = _unwatched_ms(), deliver(WORKERS, INTERVAL_S, SECONDS)
    theirs: Scraped | None = None
    remarks = []
    try:
        theirs = scraped(WORKERS, INTERVAL_S, ALONE_S, SECONDS)
    except NotHereError as error:
        remarks.append(f"Not measured: Prometheus, since {error}.")
    servers = [cost for cost in ours.costs if cost.name in SERVERS]
    cpu_ms = 1000 * sum(cost.cpu_s for cost in servers) / len(ours.latencies_s)
    memory_mb = sum(cost.pss_bytes for cost in servers) / 1e6
    p50, p99 = (1000 * quantile(ours.latencies_s, share) for share in (0.5, 0.99))
    peer = _compared(theirs) if theirs else [None] * 5
    pairs = [
        Beside("CPU of a worker's sample", "ms", cpu_ms, peer[0], WHY_CPU),
        Beside("CPU of a worker's sample while nobody looks", "ms", alone_ms, peer[1], WHY_CPU),
        Beside("memory (PSS)", "MB", memory_mb, peer[2], WHY_MEMORY),
        Beside("from a sample to who looks, p50", "ms", p50, peer[3]),
        Beside("from a sample to who looks, p99", "ms", p99, peer[4]),
    ]
    figures = [figure for pair in pairs for figure in pair.figures("gpumon's broker and master", "Prometheus")]
    remarks += [remark for pair in pairs for remark in pair.remarks("Prometheus")]
    figures.append(Figure("samples lost: gpumon", ours.lost, "", target=0))
    if theirs is not None:
        figures += _more(theirs)
    return Result(
        name="peers-fleet",
        title=f"{WORKERS:,} machines x 8 GPUs at {INTERVAL_S:.0f} s beside Prometheus",
        about=ABOUT.format(
            version=theirs.version if theirs else "",
            text_bytes=theirs.text_bytes if theirs else 0,
            payload_bytes=ours.payload_bytes,
        ),
        command=".venv/bin/python -m bench peers",
        figures=figures,
        processes=[*ours.costs, *(theirs.costs if theirs else [])],
        remarks=remarks,
        others_cpu_percent=max(ours.others_cpu_percent, theirs.others_cpu_percent if theirs else 0.0),
    )


def _unwatched_ms() -> float:
    """Return the CPU of broker and master for a sample while nobody looks, in ms."""
    with unwatched(WORKERS, INTERVAL_S) as (children, deployment, load):
        time.sleep(2 * INTERVAL_S)  # the first samples make workers, cards and their history
        meter = Meter(deployment.pids())
        meter.start()
        time.sleep(ALONE_S)  # whole intervals, in each of which every worker publishes once
        costs = meter.stop()
        load.tell("stop")
        skipped = load.hear("stopped", HEAR_TIMEOUT_S)["skipped"]
        children.check()
    if skipped:
        raise BenchmarkError(f"{skipped} samples could not be sent, since the broker did not read")
    return 1000 * sum(cost.cpu_s for cost in costs) / (WORKERS * ALONE_S / INTERVAL_S)


def _compared(run: Scraped) -> list[float | None]:
    server = run.costs[0]
    latencies = [1000 * quantile(run.latencies_s, share) for share in (0.5, 0.99)]
    alone_ms = 1000 * run.alone[0].cpu_s / run.alone_scrapes
    return [1000 * server.cpu_s / run.scrapes, alone_ms, server.pss_bytes / 1e6, *latencies]


def _more(run: Scraped) -> list[Figure]:
    return [
        Figure("memory (PSS) before anybody looked: Prometheus", run.alone[0].pss_bytes / 1e6, "MB"),
        Figure("age of what a refresh shows, p50: Prometheus", quantile(run.ages_s, 0.5), "s"),
        Figure("age of what a refresh shows, p99: Prometheus", quantile(run.ages_s, 0.99), "s"),
        Figure("a refresh of four panels, median: Prometheus", quantile(run.answers_s, 0.5), "s"),
        Figure("answers to a refresh: Prometheus", run.answer_bytes / 1e6, "MB"),
        Figure("series: Prometheus", run.series, ""),
        Figure("exporters that could not be scraped: Prometheus", run.down, ""),
        Figure("scrapes: Prometheus", run.scrapes, ""),
    ]


ABOUT = (
    f"First gpumon with its embedded broker, then Debian's Prometheus {{version}} with its defaults, for "
    f"{SECONDS:.0f} s each with one who looks at the whole fleet, and "
    f"{ALONE_S:.0f} s before without. {WORKERS:,} workers publish a sample each "
    f"{INTERVAL_S:.0f} s ({{payload_bytes:,}} bytes: 8 GPUs, 3 processes each) and a Socket.IO client watches. "
    f"{WORKERS:,} pretended exporters in one process, each at a path of its own, answer a scrape each "
    f"{INTERVAL_S:.0f} s with what dcgm-exporter says by default of 8 GPUs (21 metrics a card, {{text_bytes:,}} bytes, "
    "other values each time), and a dashboard asks Prometheus' HTTP API for four panels of 8,000 cards each "
    f"{REFRESH_S:.0f} s, Grafana's shortest refresh as it comes. CPU is that of the servers, divided by the samples of "
    "workers, or scrapes. From a sample to who looks is, for gpumon, from the moment in the sample, before it is "
    "published; for Prometheus, from its scrape to the first refresh whose panels are all there and show it: what an "
    "exporter's own interval adds is not in it. A target is Prometheus' figure. What each does is not the same: "
    "Prometheus keeps 21 readings a card, each sample as it is, on disk; gpumon keeps 8 readings a card, raw in memory "
    "for an hour or less and by the minute in its database, tells users' processes and usage apart, judges its "
    "built-in alert rules, and logs everybody in. Prometheus has no rules here, and Grafana and Alertmanager are not "
    "counted. Both have run for about two minutes when their memory is read, and both grow after that: gpumon by its "
    "window of raw samples (up to 64 MiB), Prometheus until it writes its first block, after two to three hours."
)
WHY_CPU = (
    "Each sample of gpumon crosses a broker before the master reads it, both in Python, and is taken apart into "
    "history, usage and alerts; Prometheus is compiled, and only keeps it."
)
WHY_MEMORY = "Prometheus holds the newest samples of each series in memory."
