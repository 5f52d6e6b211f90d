"""The load generator: many pretended agents in one process of its own, `python -m bench.load --help`.

It prints one JSON object a line and follows lines on its standard input: `connected` once all agents have their
SUBACK, and again after each `reconnect`; after `publish` come samples and `publishing`; after `stop` (or `--seconds`)
`stopped` with what was published. The connections stay until standard input ends, so that whoever compares what arrived
sees no worker go offline.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import resource
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from bench.pretended_agent import Counts, PretendedAgent, Worker
from gpumon.topics import Topics

MOST_AGENTS = 10_000
LONGEST_S = 900.0
CONNECT_TIMEOUT_S = 120.0
PHASES_SEED = 1
HOST = "127.0.0.1"  # never anybody else's broker


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the agents connect to: a port of this machine, with TLS or not, and the base of all topics."""

    port: int
    tls: ssl.SSLContext | None = None
    base: str = "gpumon"


class Load:
    """Pretended agents with their accounts, over one broker of this machine."""

    def __init__(self, broker: Broker, accounts: dict[str, str], gpus: int, interval_s: float) -> None:
        self.counts = Counts()
        self.agents: list[PretendedAgent] = []
        self._broker = broker
        self._accounts = accounts
        self._gpus = gpus
        self._interval_s = interval_s
        self._topics = Topics(broker.base)

    async def connect(self) -> list[float]:
        """Connect all agents at once; return after how many seconds each had its SUBACK, sorted.

        Raises OSError, TimeoutError: when one could not connect, was refused or took too long.
        """
        self.agents = [
            PretendedAgent(Worker(number, worker_id, token), self._topics, self._gpus, self._interval_s, self.counts)
            for number, (worker_id, token) in enumerate(self._accounts.items())
        ]
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        await asyncio.gather(
            *(
                loop.create_connection(partial(_same, agent), HOST, self._broker.port, ssl=self._broker.tls)
                for agent in self.agents
            )
        )
        done = await asyncio.wait_for(asyncio.gather(*(agent.subscribed for agent in self.agents)), CONNECT_TIMEOUT_S)
        return sorted(moment - started for moment in done)

    def publish(self, *, together: bool) -> None:
        """Begin to publish, all `together` or each at a moment of the interval by chance (the same in every run)."""
        start = asyncio.get_running_loop().time() + 0.05
        phases = random.Random(PHASES_SEED)
        for agent in self.agents:
            agent.publish_every_interval(start if together else start + self._interval_s * phases.random())

    def stop_publishing(self) -> None:
        """Publish no more."""
        for agent in self.agents:
            agent.stop_publishing()

    def close(self) -> None:
        """Disconnect all agents."""
        for agent in self.agents:
            agent.close()

    def report(self) -> dict[str, Any]:
        """Return what was published, how late, and each worker's last sample's time."""
        counts = self.counts
        late = sorted(counts.lateness_s) or [0.0]
        return {
            "published": counts.published,
            "published_bytes": counts.published_bytes,
            "skipped": counts.skipped,
            "commands": counts.commands,
            "acknowledged": counts.acknowledged,
            "lost_connections": counts.lost_connections,
            "problems": counts.problems,
            "lateness_p99_s": late[int(0.99 * (len(late) - 1))],
            "lateness_max_s": late[-1],
            "cpu_s": time.process_time(),
            "last_times": {agent.worker_id: agent.last_time for agent in self.agents},
        }


def _same(agent: PretendedAgent) -> PretendedAgent:
    return agent


def _say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str]) -> None:
    """Put standard input's lines into `lines`, and an empty one at its end."""
    with contextlib.suppress(RuntimeError):  # the loop has ended before the input
        for line in itertools.chain(iter(sys.stdin.readline, ""), [""]):
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())


async def _told(lines: asyncio.Queue[str], timeout_s: float) -> str:
    """Wait for a line on standard input; empty where the input ends or the time is up before."""
    try:
        return await asyncio.wait_for(lines.get(), timeout_s)
    except asyncio.TimeoutError:
        return ""


async def _connect(load: Load) -> bool:
    """Connect all and say when they were; or say what went wrong."""
    before = time.process_time()
    try:
        moments = await load.connect()
    except (OSError, asyncio.TimeoutError) as error:
        waiting = sum(not agent.subscribed.done() for agent in load.agents)
        _say("failed", problem=f"{type(error).__name__} {error}", waiting=waiting, problems=load.counts.problems)
        return False
    _say(
        "connected",
        agents=len(moments),
        first_s=moments[0],
        half_s=moments[len(moments) // 2],
        all_s=moments[-1],
        cpu_s=time.process_time() - before,
    )
    return True


async def _run(arguments: argparse.Namespace) -> int:
    accounts = json.loads(arguments.accounts.read_text())
    if not 1 <= len(accounts) <= MOST_AGENTS:
        raise SystemExit(f"{len(accounts)} accounts in {arguments.accounts}: from 1 to {MOST_AGENTS} can be used")
    lines: asyncio.Queue[str] = asyncio.Queue()
    # In a thread, since standard input may be something that an event loop cannot wait for.
    threading.Thread(target=_read_lines, args=(asyncio.get_running_loop(), lines), daemon=True).start()
    tls = ssl.create_default_context(cafile=arguments.cafile) if arguments.cafile else None
    load = Load(Broker(arguments.port, tls, arguments.base), accounts, arguments.gpus, arguments.interval)
    said = "reconnect"
    while said == "reconnect":
        if not await _connect(load):
            load.close()
            return 1
        said = await _told(lines, LONGEST_S)
    if said == "publish":
        load.publish(together=arguments.together)
        _say("publishing", payload_bytes=load.agents[0].payload_bytes)
        await _told(lines, arguments.seconds)
        load.stop_publishing()
        _say("stopped", **load.report())
        await _told(lines, LONGEST_S)
    load.close()
    await asyncio.sleep(0.2)  # for the last bytes to leave
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="MQTT port on 127.0.0.1")
    parser.add_argument("--accounts", type=Path, required=True, help="JSON file: worker id -> token")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two samples of a worker")
    parser.add_argument("--together", action="store_true", help="all publish at the same moment, not each at its own")
    parser.add_argument("--base", default="gpumon")
    parser.add_argument("--cafile", help="connect with TLS, and verify the broker with this CA certificate")
    parser.add_argument("--seconds", type=float, default=LONGEST_S, help="publish no longer than this")
    arguments = parser.parse_args()
    arguments.seconds = min(arguments.seconds, LONGEST_S)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.install()
    return asyncio.run(_run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
