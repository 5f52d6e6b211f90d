"""How far it goes: the embedded broker at 1 Hz, plain and over TLS, and mosquitto with more and more workers."""

from __future__ import annotations

from bench.delivery import Run, deliver, quantile, result_of
from bench.mosquitto_deployment import MosquittoDeployment
from bench.processes import Cost
from bench.report import Figure, Result

SECONDS = 60.0
GROWTH = (10, 100, 1000, 3000, 10_000)
_SERVERS = ("broker", "master and page")


def embedded() -> Result:
    """Watch 1,000 workers at 1 Hz at the embedded broker, all of it on two cores."""
    run = deliver(workers=1000, interval_s=1.0, seconds=SECONDS)
    return result_of("embedded", "1,000 workers x 8 GPUs at 1 Hz", run, [*_latencies(run, 250), *_servers(run)])


def embedded_tls() -> Result:
    """Watch the same over TLS."""
    run = deliver(workers=1000, interval_s=1.0, seconds=SECONDS, tls=True)
    title = "1,000 workers x 8 GPUs at 1 Hz, over TLS"
    return result_of("embedded-tls", title, run, [*_latencies(run, 250), *_servers(run)])


def embedded_2000() -> Result:
    """Watch twice as many."""
    run = deliver(workers=2000, interval_s=1.0, seconds=SECONDS)
    return result_of("embedded-2000", "2,000 workers x 8 GPUs at 1 Hz", run, _latencies(run, 1000))


def mosquitto() -> Result:
    """Watch from 10 to 10,000 workers at 5 s, all into one master, with mosquitto as the broker."""
    runs = {workers: deliver(workers, 5.0, SECONDS, kind=MosquittoDeployment) for workers in GROWTH}
    most = runs[GROWTH[-1]]
    per_worker = (_master(most).pss_bytes - _master(runs[100]).pss_bytes) / (GROWTH[-1] - 100)
    figures = [
        *_latencies(most, 1000),
        Figure("master's memory for each worker more, from 100 to 10,000", per_worker / 1e3, "KB", target=100),
    ]
    for workers, run in runs.items():
        samples = len(run.latencies_s)
        figures += [
            Figure(f"{workers:,} workers: latency p99", 1000 * quantile(run.latencies_s, 0.99), "ms"),
            Figure(f"{workers:,} workers: master's CPU a message", 1e6 * _master(run).cpu_s / samples, "µs"),
            Figure(f"{workers:,} workers: master's memory", _master(run).pss_bytes / 1e6, "MB"),
            Figure(f"{workers:,} workers: samples lost", run.lost, "", target=0),
        ]
    return result_of("mosquitto", "up to 10,000 workers x 8 GPUs at 5 s, with mosquitto", most, figures)


def _latencies(run: Run, p99_ms: float) -> list[Figure]:
    return [
        Figure("latency p50", 1000 * quantile(run.latencies_s, 0.5), "ms"),
        Figure("latency p99", 1000 * quantile(run.latencies_s, 0.99), "ms", target=p99_ms),
        Figure("latency max", 1000 * max(run.latencies_s), "ms"),
    ]


def _servers(run: Run) -> list[Figure]:
    servers = [cost for cost in run.costs if cost.name in _SERVERS]
    return [
        Figure("broker and master together, CPU", sum(cost.cpu_percent for cost in servers), "%", target=100),
        Figure("broker and master together, memory", sum(cost.pss_bytes for cost in servers) / 1e6, "MB", target=300),
    ]


def _master(run: Run) -> Cost:
    return next(cost for cost in run.costs if cost.name == "master and page")
