"""A broker that Home Assistant and agents share, and the machine that the agents read: once each way people have it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.running import CLEAN_ENVIRONMENT, an_agent, gpumon_up
from tests.standin import Standin, StandinGpu, StandinProcess, environment
from tests.support import accepts_connections, eventually, free_port, program_or_skip, stopping

QUOTED = 'NVIDIA "Größe" {{ 1/0 }} 卡'
ONE, OTHER = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6", "GPU-11111111-1b2c-3d4e-5f60-718293a4b5c6"
INTERVAL_S = 0.5
PASSWORD = "correct horse"

StartAgent = Callable[..., AbstractContextManager["subprocess.Popen[bytes]"]]


@dataclass(frozen=True, slots=True)
class Lab:
    """A broker, how Home Assistant logs in there, and how an agent is started that reports to it."""

    port: int
    username: str
    password: str
    agent: StartAgent
    remove: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with two cards, the second of which has neither a fan nor ECC."""

    library: Path
    state: Path
    one: str = ONE
    other: str = OTHER

    def show(self, *, lost: bool = False) -> None:
        """Show the cards, the first of them lost or not."""
        process = StandinProcess(os.getpid(), memory_mib=2048, sm_percent=50)
        values = {"temperature_c": 41}
        first = StandinGpu(uuid=self.one, name=QUOTED, lost=lost, values=values, processes=[process])
        second = StandinGpu(uuid=self.other, name="NVIDIA L40S", values={"temperature_c": 62}).without_fan_and_ecc()
        Standin(gpus=[first, second]).write(self.state)

    @property
    def environment(self) -> dict[str, str]:
        """What makes an agent read this machine."""
        return environment(self.library, self.state)


@contextlib.contextmanager
def own_broker(folder: Path) -> Iterator[Lab]:
    """Home Assistant's own broker: a mosquitto with accounts, which knows nothing of gpumon; there is no master."""
    program = program_or_skip("mosquitto", "mosquitto")
    passwords, secret, port = folder / "passwords", folder / "password.txt", free_port()
    passwd = program_or_skip("mosquitto_passwd", "mosquitto")
    for options in (["-c"], []):
        name = "homeassistant" if options else "gpumon"
        subprocess.run([passwd, "-b", *options, str(passwords), name, PASSWORD], check=True, capture_output=True)
    passwords.chmod(0o644)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\npersistence false\n"
    )
    secret.write_text(PASSWORD)
    secret.chmod(0o600)

    @contextlib.contextmanager
    def agent(worker_id: str, *flags: str, more: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        words = ["--master", f"mqtt://127.0.0.1:{port}", "--home-assistant", "--worker-id", worker_id]
        words += ["--username", "gpumon", "--password-file", str(secret), "--data", str(folder / "data"), *flags]
        with (folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(
                gpumon_command("agent", *words), env={**CLEAN_ENVIRONMENT, **more}, stdout=log, stderr=log
            )
        with stopping(process):
            yield process

    broker = subprocess.Popen([program, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with stopping(broker):
        eventually(lambda: accepts_connections(port))
        yield Lab(port, "homeassistant", PASSWORD, agent)


@contextlib.contextmanager
def embedded_broker(folder: Path) -> Iterator[Lab]:
    """gpumon's embedded broker, at which Home Assistant has an account of the role integration."""
    with gpumon_up(folder, more={"LD_LIBRARY_PATH": "/nonexistent"}) as running:
        added = running.gpumon("user", "add", "home", "--role", "integration", "--commands-on", "all", text=PASSWORD)
        assert added.returncode == 0, added.stderr

        def agent(worker_id: str, *flags: str, more: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
            return an_agent(running, worker_id, "--home-assistant", *flags, more=more)

        def remove(worker_id: str) -> None:
            removed = running.gpumon("worker", "remove", worker_id)
            assert removed.returncode == 0, removed.stderr

        yield Lab(running.mqtt_port, "home", PASSWORD, agent, remove)
