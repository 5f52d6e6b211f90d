"""A real Prometheus, and what it is asked."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support import eventually, free_port, program_or_skip, stopping


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that runs."""

    port: int
    log: Path

    def get(self, path: str, **arguments: str | list[str]) -> Any:
        """Return the data of an answer of its API."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=arguments, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def values(self, expression: str) -> list[float]:
        """Return their values."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes, with how that went."""
        found: list[dict[str, Any]] = self.get("targets")["activeTargets"]
        return found

    def alerts(self) -> dict[str, set[str]]:
        """Return which alerts are pending or firing, each with the instances it is about."""
        found: dict[str, set[str]] = {}
        for alert in self.get("alerts")["alerts"]:
            found.setdefault(alert["labels"]["alertname"], set()).add(alert["labels"]["instance"])
        return found


def configured(folder: Path, guide: Path, page: str, token: str | None = None) -> Path:
    """Put what the guide has installed into a folder, for this page, with each 15 s made one and another token."""
    for name in ("gpumon.rules.yml", "gpumon.token", "gpumon-ca.crt"):
        shutil.copy(guide / name, folder)
    text = (guide / "prometheus.yml").read_text()
    assert "gpumon.lab:5000" in text
    quick = text.replace("gpumon.lab:5000", page.partition("://")[2]).replace("interval: 15s", "interval: 1s")
    (folder / "prometheus.yml").write_text(quick)
    if token is not None:
        (folder / "gpumon.token").write_text(token)
    return folder / "prometheus.yml"


@contextmanager
def prometheus(configuration: Path) -> Iterator[Prometheus]:
    """Run a Prometheus until the block ends; it is ready when the block begins."""
    program = program_or_skip("prometheus", "prometheus")
    port, log = free_port(), configuration.parent / "prometheus.log"
    command = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={configuration.parent / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    with stopping(process):
        eventually(lambda: _is_ready(port) or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield Prometheus(port, log)


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).status_code == 200
    except requests.RequestException:
        return False
