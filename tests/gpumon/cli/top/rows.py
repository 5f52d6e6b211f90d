"""Rows of a small fleet, as the feed makes them."""

from __future__ import annotations

from typing import Any

from gpumon.messages import GpuReading, Info, Metrics, encode
from master.worker import Worker
from tests.webui.worker_double import idle, lost, reading
from webui.rows import FleetRow, fleet_row

NOW = 1_766_500_000.0


def worker(worker_id: str, gpus: list[GpuReading], labels: dict[str, str] | None = None, **changes: Any) -> Worker:
    """Return a worker that has just published these cards."""
    info = Info(
        hostname=f"{worker_id}.lab", agent_version="0.1.0", source="nvml", interval_s=5.0, gpus=[], labels=labels or {}
    )
    metrics = Metrics(time=NOW, seq=1, interval_s=5.0, source="nvml", gpus=gpus)
    values: dict[str, Any] = {
        "status": "online",
        "info": info,
        "metrics": metrics,
        "metrics_payload": encode(metrics),
        "last_seen": NOW,
        "last_sample": NOW,
    }
    return Worker(worker_id, **{**values, **changes})


def row(worker_id: str, gpus: list[GpuReading], labels: dict[str, str] | None = None, **changes: Any) -> FleetRow:
    """Return the row of such a worker."""
    return fleet_row(worker(worker_id, gpus, labels, **changes), NOW)


def small_fleet() -> list[FleetRow]:
    """Return gpu-10 (busy, hot), gpu-9 (free, and held idle), gpu-2 (a lost card), gpu-1 (offline)."""
    return [
        row("gpu-10", [reading(0, temperature_c=88), reading(1)], {"rack": "3"}),
        row("gpu-9", [idle(0), reading(1, utilization_percent=2)], {"rack": "4"}),
        row("gpu-2", [idle(0), lost(1)]),
        row("gpu-1", [reading(0)], status="offline"),
    ]
