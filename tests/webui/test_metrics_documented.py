"""docs/metrics.md tells of every metric that is declared anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import webui
from webui.metrics_text import Family

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()


def families(value: object) -> Iterator[str]:
    """Give the names of the metrics in a module's variable."""
    if isinstance(value, Family):
        yield value.name
    elif isinstance(value, tuple):
        for each in value:
            yield from families(each)


def declared() -> set[str]:
    """Return the names of all metrics that gpumon writes itself."""
    names = [found.name for found in pkgutil.iter_modules(webui.__path__) if found.name.startswith("metrics")]
    modules = [importlib.import_module(f"webui.{name}") for name in names]
    return {name for module in modules for value in vars(module).values() for name in families(value)}


def test_every_metric_that_is_declared_stands_in_the_page_of_metrics() -> None:
    assert len(declared()) > 40
    assert {name for name in declared() if f"| `{name}` |" not in DOCUMENT} == set()
