"""The expressions of dashboards, as Grafana fills in its variables before it asks Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "config" / "grafana" / "dashboards" / "gpumon.json").read_text())
# Those of grafana.com's dashboard 12239, "NVIDIA DCGM Exporter Dashboard", with its variables `instance` and `gpu`.
DASHBOARD_12239 = (
    'DCGM_FI_DEV_GPU_TEMP{instance=~"$instance", gpu=~"$gpu"}',
    'avg(DCGM_FI_DEV_GPU_TEMP{instance=~"$instance", gpu=~"$gpu"})',
    'DCGM_FI_DEV_POWER_USAGE{instance=~"$instance", gpu=~"$gpu"}',
    'sum(DCGM_FI_DEV_POWER_USAGE{instance=~"$instance", gpu=~"$gpu"})',
    'DCGM_FI_DEV_SM_CLOCK{instance=~"$instance", gpu=~"$gpu"} * 1000000',
    'DCGM_FI_DEV_GPU_UTIL{instance=~"$instance", gpu=~"$gpu"}',
    'DCGM_FI_DEV_FB_USED{instance=~"$instance", gpu=~"$gpu"}',
    'DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{instance=~"$instance", gpu=~"$gpu"}',
)
VALUES = {
    "$instance": "(ill|well)",
    "$worker": "(gone|ill|well)",
    "$gpu": "(0|1|2|3)",
    "$__rate_interval": "1m",
    "$__range": "1h",
}


def filled(expression: str) -> str:
    """Return an expression with a value for each variable."""
    for variable, value in VALUES.items():
        expression = expression.replace(variable, value)
    return expression


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a dashboard's panels, those in rows too."""
    return [panel for outer in dashboard["panels"] for panel in (outer, *outer.get("panels", ()))]


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return every expression with its panel's title."""
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
