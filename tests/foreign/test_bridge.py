"""Two mosquitto bridged to one another: a master at one of them has the workers of both."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import CLEAN_ENVIRONMENT, gpumon_up
from tests.foreign.support import mosquitto_process
from tests.master.support import Publisher
from tests.support import eventually, free_port, mosquitto, stopping

EXAMPLE = Path(__file__).parents[2] / "config" / "mosquitto" / "bridge.conf"


@contextlib.contextmanager
def bridged(folder: Path, other_port: int) -> Iterator[int]:
    """Run a mosquitto with the example's bridge to the one at that port, without TLS and accounts."""
    port = free_port()
    folder.mkdir()
    example = EXAMPLE.read_text().replace("mqtt.lab:8883", f"127.0.0.1:{other_port}")
    example = re.sub(r"^(bridge_cafile|remote_username|remote_password) .*\n", "", example, flags=re.MULTILINE)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{example}")
    with mosquitto_process(configuration, port):
        yield port


@contextlib.contextmanager
def agent(folder: Path, worker_id: str, port: int) -> Iterator[None]:
    """Run an agent at the broker of this port."""
    token = folder / f"{worker_id}.token"
    token.write_text("any\n")
    token.chmod(0o600)
    command = gpumon_command(
        *("agent", "--master", f"mqtt://127.0.0.1:{port}", "--worker-id", worker_id, "--source", "simulated"),
        *("--interval", "1", "--token-file", str(token), "--data", str(folder / worker_id)),
    )
    with (folder / f"{worker_id}.log").open("ab") as log:
        process = subprocess.Popen(command, env=CLEAN_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with stopping(process):
        yield


def test_workers_at_both_of_two_bridged_brokers_are_current_and_take_commands(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as near_port,
        bridged(tmp_path / "far", near_port) as far_port,
        gpumon_up(tmp_path, more={"GPUMON_BROKER_URL": f"mqtt://127.0.0.1:{near_port}"}) as running,
        agent(tmp_path, "near", near_port),
        agent(tmp_path, "far-away", far_port),
    ):
        page = PageClient(running.page, "admin", running.admin_password)

        def are_current() -> bool:
            rows = {row["id"]: row for row in page.workers()}
            seen = [rows[name]["last_seen"] or 0 for name in ("near", "far-away") if name in rows]
            return len(seen) == 2 and all(time.time() - at < 3 for at in seen)

        eventually(are_current, 40)
        first = page.worker("far-away")["sample_time"]
        eventually(lambda: page.worker("far-away")["sample_time"] > first and are_current())
        with contextlib.closing(Listener(near_port)) as near, contextlib.closing(Listener(far_port)) as far:
            for name in ("near", "far-away"):
                command = page.run(name, f"echo from {name}")
                eventually(lambda: page.command(command)["targets"][0]["state"] == "finished", 20)  # noqa: B023
            time.sleep(0.5)  # what went round would come again by then
            for listener in (near, far):
                assert sorted(topic for topic, _ in listener.received) == [
                    "gpumon/far-away/cmd/result",
                    "gpumon/near/cmd/result",
                ]


class Listener(Publisher):
    """Hears how commands end."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.hear("gpumon/+/cmd/result")

    def close(self) -> None:
        self.stop()
