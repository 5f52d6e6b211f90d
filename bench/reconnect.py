"""A fleet that comes back at once after a restart of the broker: plain, with TLS, and while somebody guesses."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Children, Helper
from bench.delivery import load_command
from bench.deployment import Deployment
from bench.errors import BenchmarkError
from bench.processes import Cost, Meter, cpu_s
from bench.report import Figure, Result
from broker.counters import BrokerCounters
from broker.logins import LoginDesk
from master.account_directory import AccountDirectory

WORKERS = 1000
TIMEOUT_S = 150.0
PUBLISHING_S = 15.0
INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    back: dict[str, Any]
    costs: list[Cost]
    broker_us_a_message: float


def reconnect() -> Result:
    """Restart the broker under 1,000 workers; all come back at the moment at which it listens again."""
    plain, tls, flooded = _run(tls=False), _run(tls=True), _run(tls=False, is_flooded=True)
    return Result(
        name="reconnect",
        title="1,000 workers come back at once after a restart of the broker",
        about=(
            "`gpumon broker` and `gpumon master` on a data folder with 1,000 workers' accounts, tokens checked in its "
            "database. The broker is restarted; as soon as it listens, all workers open a connection at the same "
            "moment, with a whole TLS handshake each where it is TLS, log in, subscribe to three topics and publish "
            "status and inventory. Measured until each has its SUBACK. The cost of a message is the broker's CPU time "
            f"while all publish {INTERVAL_S:g} sample a second for {PUBLISHING_S:g} s. Wrong passwords: 100 "
            "connections that try one after the other, with a person's name and with unknown ones, from this machine. "
            "Processes are those of the TLS run, from the restart to the last SUBACK."
        ),
        command=".venv/bin/python -m bench reconnect",
        figures=[
            Figure("plain: half are back after", plain.back["half_s"], "s"),
            Figure("plain: all are back after", plain.back["all_s"], "s", target=10),
            Figure("TLS: half are back after", tls.back["half_s"], "s"),
            Figure("TLS: all are back after", tls.back["all_s"], "s", target=20),
            Figure("plain, under a flood of wrong passwords: all are back after", flooded.back["all_s"], "s"),
            Figure("checking 1,000 tokens alone", _seconds_for_tokens(), "s"),
            Figure("broker's CPU for a message of 8 GPUs, plain", plain.broker_us_a_message, "µs"),
            Figure("broker's CPU for a message of 8 GPUs, TLS", tls.broker_us_a_message, "µs"),
        ],
        processes=tls.costs,
    )


def _run(*, tls: bool, is_flooded: bool = False) -> Run:
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = Deployment(Path(name), children, tls=tls)
        deployment.add_accounts(WORKERS)
        deployment.start()
        load = Helper(children, "load", load_command(deployment, INTERVAL_S))
        load.hear("connected", TIMEOUT_S)
        deployment.stop_broker()
        deployment.start_broker()
        flood = None
        if is_flooded:
            flood = Helper(
                children, "flood", [sys.executable, "-m", "bench.flood", "--port", str(deployment.mqtt_port)]
            )
            flood.hear("flooding", TIMEOUT_S)
            time.sleep(1.0)
        meter = Meter({**deployment.pids(), "load generator": load.process.pid})
        meter.start()
        load.tell("reconnect")
        back = load.hear("connected", TIMEOUT_S)
        costs = meter.stop()
        if flood is not None:
            flood.end()
        cost_us = 0.0 if is_flooded else _microseconds_a_message(deployment, load)
        load.end()
    return Run(back, costs, cost_us)


def _microseconds_a_message(deployment: Deployment, load: Helper) -> float:
    assert deployment.broker is not None
    before = cpu_s(deployment.broker.pid)
    load.tell("publish")
    load.hear("publishing", TIMEOUT_S)
    time.sleep(PUBLISHING_S)
    load.tell("stop")
    stopped = load.hear("stopped", TIMEOUT_S)
    return 1e6 * (cpu_s(deployment.broker.pid) - before) / float(stopped["published"])


def _seconds_for_tokens() -> float:
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        deployment = Deployment(Path(name), children)
        deployment.add_accounts(WORKERS)
        tokens = json.loads(deployment.accounts_file.read_text())
        return asyncio.run(_check(AccountDirectory(deployment.data), tokens))


async def _check(directory: AccountDirectory, tokens: dict[str, str]) -> float:
    desk = LoginDesk(directory, BrokerCounters())
    began = time.monotonic()
    found = await asyncio.gather(*(desk.who_is(name, token, "127.0.0.1") for name, token in tokens.items()))
    took_s = time.monotonic() - began
    desk.close()
    directory.close()
    if None in found:
        raise BenchmarkError("a right token was refused")
    return took_s
