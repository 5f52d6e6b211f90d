"""A fleet with everything in it that is worth an alert, and a real Prometheus that scrapes its master over TLS."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from gpumon.link import Credentials
from gpumon.messages import GpuReading
from master.accounts import open_accounts
from tests.end_to_end.running import Running, gpumon_up
from tests.prometheus.server import Prometheus, configured, prometheus
from tests.support import eventually, free_port, program_or_skip
from tests.webui.worker_double import WorkerDouble, mig, reading

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "prometheus.md").read_text()
SETTING_UP, GRAFANA = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)

HOSTILE_NAME = 'a "quoted" \\ back\nline\x00\r} 9 über 显卡'
# So seldom that a worker of these tests needs to publish once alone.
INTERVAL_S = 300.0


@dataclass(frozen=True, slots=True)
class Scraped:
    """A gpumon, and a Prometheus that scrapes it."""

    gpumon: Running
    prometheus: Prometheus


def sample(double: WorkerDouble, gpus: list[GpuReading]) -> None:
    """Publish a sample that does not get stale."""
    double.sample(gpus, interval_s=INTERVAL_S)


@pytest.fixture(scope="session")
def gpumon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gpumon with TLS."""
    program_or_skip("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("scraped")
    with gpumon_up(folder, "--host", "127.0.0.1", "--mqtts-port", str(free_port())) as running:
        yield running


@pytest.fixture(scope="session")
def guide(gpumon: Running) -> Path:
    """The folder that stands for /etc/prometheus after the lines of the guide; `sudo` is nothing special here."""
    folder = gpumon.data.root.parent
    (folder / "config").symlink_to(ROOT / "config")
    installed, bin_folder = folder / "etc-prometheus", folder / "bin"
    installed.mkdir()
    bin_folder.mkdir()
    for name, script in {
        "sudo": 'exec "$@"',
        "systemctl": "exit 0",
        "gpumon": shlex.join(gpumon_command()) + ' "$@"',
    }.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / name).chmod(0o755)
    lines = SETTING_UP.replace("/etc/prometheus", str(installed)).replace("-g prometheus ", "")
    environment = {**gpumon.environment, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        ["sh", "-eu", "-c", lines], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return installed


@pytest.fixture(scope="session")
def workers(gpumon: Running) -> Iterator[dict[str, WorkerDouble]]:
    """One that is well, one whose cards are not, and one that has gone."""
    fleet = {
        "well": [reading(0, nvlink_tx_bytes_per_s=5, nvlink_rx_bytes_per_s=6, fan_percent=30), mig(1)],
        "ill": [
            reading(2, temperature_c=93),
            reading(3, last_xid=43, name=HOSTILE_NAME),
            GpuReading(uuid=reading(4).uuid, name="NVIDIA H200", state="lost", last_xid=79),
        ],
        "gone": [reading(5)],
    }
    doubles = {}
    for worker_id, gpus in fleet.items():
        with open_accounts(gpumon.data) as accounts:
            credentials = Credentials(worker_id, accounts.add_worker(worker_id))
        double = WorkerDouble(
            gpumon.mqtt_port, worker_id, labels={"rack": "3"}, credentials=credentials, interval_s=INTERVAL_S
        )
        doubles[worker_id] = double.start(gpus)
        sample(double, gpus)
    doubles.pop("gone").stop()
    yield doubles
    for double in doubles.values():
        double.stop()


@pytest.fixture(scope="session")
def scraped(
    gpumon: Running, guide: Path, workers: dict[str, WorkerDouble], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scraped]:
    """A Prometheus that has scraped the whole fleet, with this project's own configuration."""
    configuration = configured(tmp_path_factory.mktemp("prometheus"), guide, gpumon.page)
    with prometheus(configuration) as running:
        eventually(lambda: running.values('gpumon_workers{state="offline"}') == [1.0], 60, 0.2)
        eventually(lambda: running.values("count_over_time(gpumon_build_info[1m]) >= 3"), 60, 0.2)
        yield Scraped(gpumon, running)
