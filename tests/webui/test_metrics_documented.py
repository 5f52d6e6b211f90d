"""The tables of docs/prometheus.md name every metric that is served, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.settings import Settings
from master.master import Master
from webui import metrics_cards, metrics_workers
from webui.metrics_master import CommandCounts, MasterCollector
from webui.metrics_text import Family

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "prometheus.md").read_text()


def served(folder: Path) -> set[tuple[str, str, str]]:
    """Return name, kind and help of every metric in the code."""
    master = Master(Settings(), DataFolder(folder), BrokerAddress("127.0.0.1", 1, tls=False), None)
    own = MasterCollector(master, [], CommandCounts(), lambda: 0).collect()
    families: tuple[Family[Any], ...] = (
        *metrics_cards.READINGS,
        *metrics_cards.MEMORY,
        metrics_cards.XID,
        *metrics_workers.WORKERS,
        metrics_workers.INFO,
        metrics_workers.LABELS,
        *metrics_workers.HOSTS,
    )
    told = {(family.name, family.kind, family.help) for family in families}
    suffix = {"counter": "_total"}
    return told | {(metric.name + suffix.get(metric.type, ""), metric.type, metric.documentation) for metric in own}


def test_every_metric_stands_in_a_table_with_its_kind_and_help(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `((?:DCGM|gpumon)_\w+)` \| (\w+) \| (.+?) \|", DOCUMENT, re.M)

    assert sorted(rows) == sorted(served(tmp_path))
