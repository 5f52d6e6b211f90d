"""What is served of each worker: whether its samples come, how late, what it is, and the machine around the cards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpumon.messages import HostReading
from master.worker import Worker, WorkerState
from webui.metrics_text import Family, labels_text

# Of these there are samples that are not too old to be told.
SAMPLED = frozenset({WorkerState.ONLINE, WorkerState.DEGRADED})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """A worker and how it is at the moment of the scrape; `labels` are those of its series."""

    worker: Worker
    state: WorkerState
    labels: str

    @property
    def has_readings(self) -> bool:
        """Whether its last sample tells how its cards are now."""
        return self.state in SAMPLED and self.worker.last_sample is not None


def _delay_s(now: WorkerNow) -> float | None:
    if not now.has_readings or now.worker.clock_offset_s is None:
        return None
    return round(-now.worker.clock_offset_s, 6)


WORKERS: tuple[Family[WorkerNow], ...] = (
    Family(
        "gpumon_worker_up",
        "gauge",
        "1 while the worker's samples come, 0 while it is stale or offline.",
        lambda now: int(now.state in SAMPLED),
    ),
    Family(
        "gpumon_worker_degraded",
        "gauge",
        "1 where the worker says itself that its telemetry is broken.",
        lambda now: int(now.state is WorkerState.DEGRADED) if now.state in SAMPLED else None,
    ),
    Family(
        "gpumon_worker_last_sample_timestamp_seconds",
        "gauge",
        "When the master received the worker's last sample (seconds since 1970).",
        lambda now: now.worker.last_sample,
    ),
    Family(
        "gpumon_worker_sample_delay_seconds",
        "gauge",
        "From the last sample's own time to its arrival at the master; a clock that differs shows here too.",
        _delay_s,
    ),
    Family(
        "gpumon_worker_rejected_payloads_total",
        "counter",
        "Payloads of the worker that were not valid and ignored, since the master started.",
        lambda now: now.worker.rejected_payloads,
    ),
)
INFO: Family[None] = Family("gpumon_worker_info", "gauge", "1, with what the worker is in its labels.", lambda _: 1)
LABELS: Family[None] = Family(
    "gpumon_worker_labels", "gauge", "1, with the worker's own labels as label_NAME.", lambda _: 1
)
HOSTS: tuple[Family[HostReading], ...] = (
    Family("gpumon_host_cpu_percent", "gauge", "CPU utilization (in %).", lambda host: host.cpu_percent),
    Family("gpumon_host_load1", "gauge", "Load average over a minute.", lambda host: host.load_1m),
    Family("gpumon_host_memory_used_bytes", "gauge", "Memory in use.", lambda host: host.memory_used_bytes),
    Family("gpumon_host_memory_size_bytes", "gauge", "Memory in all.", lambda host: host.memory_total_bytes),
    Family("gpumon_host_swap_used_bytes", "gauge", "Swap in use.", lambda host: host.swap_used_bytes),
    Family("gpumon_host_disk_used_bytes", "gauge", "Disk in use.", lambda host: host.disk_used_bytes),
    Family("gpumon_host_disk_size_bytes", "gauge", "Disk in all.", lambda host: host.disk_total_bytes),
    Family(
        "gpumon_host_network_receive_bytes_per_second",
        "gauge",
        "Received over the network.",
        lambda host: host.network_rx_bytes_per_s,
    ),
    Family(
        "gpumon_host_network_transmit_bytes_per_second",
        "gauge",
        "Sent over the network.",
        lambda host: host.network_tx_bytes_per_s,
    ),
    Family("gpumon_host_uptime_seconds", "gauge", "Time since the machine started.", lambda host: host.uptime_s),
)


def worker_now(worker: Worker, now: float) -> WorkerNow:
    """Return the worker as it is at `now` (seconds since 1970)."""
    hostname = worker.info.hostname if worker.info is not None else None
    return WorkerNow(worker, worker.state(now), labels_text({"Hostname": hostname, "instance": worker.id}))


def worker_texts(workers: Sequence[WorkerNow]) -> Iterator[str]:
    """Return each family with the series of all workers."""
    every = [(now.labels, now) for now in workers]
    for family in WORKERS:
        yield family.text(every)
    yield INFO.text((f"{now.labels},{more}", None) for now in workers if (more := _info(now.worker)))
    yield LABELS.text((f"{now.labels},{more}", None) for now in workers if (more := _own_labels(now.worker)))
    hosts = [
        (now.labels, now.worker.metrics.host)
        for now in workers
        if now.has_readings and now.worker.metrics is not None and now.worker.metrics.host is not None
    ]
    for of_host in HOSTS:
        yield of_host.text(hosts)


def _info(worker: Worker) -> str:
    info = worker.info
    if info is None:
        return ""
    return labels_text(
        {
            "source": worker.metrics.source if worker.metrics is not None else info.source,
            "agent_version": info.agent_version,
            "driver_version": info.driver_version,
            "cuda_version": info.cuda_version,
            "os": info.os,
        }
    )


def _own_labels(worker: Worker) -> str:
    """Return the worker's own labels; of two that come to the same name, the first."""
    named: dict[str, str | int | None] = {}
    for name, value in worker.info.labels.items() if worker.info is not None else ():
        named.setdefault(f"label_{_NOT_IN_NAMES.sub('_', name)}", value)
    return labels_text(named)
