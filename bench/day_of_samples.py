"""A day of samples as fast as they come: the agent's own sampler, sampling and node, on a clock that jumps.

`python -m bench.day_of_samples` runs a worker over the stand-in for NVML, whose cards get processes, XIDs and MIG
devices, are lost and found, and whose driver goes away, as on a bad day. After each look the agent's clock goes on by
an interval, so that what is done every ten minutes is done 144 times. It prints a JSON line each hour.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import agent.node
import agent.nvml
import agent.samplers.host
import agent.samplers.nvml
import agent.samplers.pcie
import agent.sampling
from agent import memory
from agent.cards import KnownCards
from agent.command_conditions import CommandConditions
from agent.command_rules import command_environment
from agent.identity import identity
from agent.machine import this_machine
from agent.processes import ProcessTable
from agent.samplers.host import HostSampler
from agent.samplers.nvml import NvmlSampler
from agent.sampling import Sampling
from bench.errors import BenchmarkError
from bench.processes import memory_bytes
from gpumon.address import BrokerAddress
from gpumon.files import read_secret
from gpumon.link import Credentials
from gpumon.messages import Event
from gpumon.settings import AgentSettings
from gpumon.topics import Topics
from tests.standin import STATE_VARIABLE, Standin, StandinGpu, StandinProcess

INTERVAL_S = 1.0
MINUTE, HOUR = 60, 3600
START_TIMEOUT_S = 20.0
FLUSH_EACH = 60  # looks: what waits to be sent is not the agent's memory at a real pace
ON_THE_CLOCK = (agent.nvml, agent.sampling, agent.samplers.host, agent.samplers.nvml, agent.samplers.pcie)


class JumpingClock:
    """Stands in for the module `time` in the agent's modules: real time within a look, an interval between two."""

    def __init__(self) -> None:
        self._jumped_s = 0.0
        self.time = time.time
        self.clock_gettime = time.clock_gettime
        self.CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic() + self._jumped_s

    def sleep(self, _seconds: float) -> None:
        """Do not wait."""

    def jump(self, seconds: float) -> None:
        """Let this time have passed."""
        self._jumped_s += seconds


class BadDay:
    """What happens to a machine, by the second of the day."""

    def __init__(self, state: Path, pids: list[int], gpus: int) -> None:
        self._state = state
        self._pids = pids
        self._gpus = gpus

    def pass_to(self, second: int) -> None:
        """Let the machine be as it is in this second; it changes at whole minutes."""
        if second % MINUTE == 0:
            self._machine(second // MINUTE).write(self._state)

    def _machine(self, minute: int) -> Standin:
        gpus = [StandinGpu(processes=self._processes(index, minute)) for index in range(self._gpus)]
        gpus[0].xids = [13] * (minute // 60)  # one more each hour
        if minute % 180 in range(60, 80):
            gpus[1].mig_devices = 2 + minute % 3
        gpus[2].without_fan_and_ecc()
        gpus[-1].lost = minute % 120 in range(30, 35)
        return Standin(gpus=gpus, dead=1 if minute % 360 == 300 else 0)

    def _processes(self, index: int, minute: int) -> list[StandinProcess]:
        first = (index * 2 + minute) % len(self._pids)
        pids = (self._pids * 2)[first : first + (minute + index) % 4]
        return [StandinProcess(pid, memory_mib=1000 + minute, sm_percent=minute % 100) for pid in pids]


class SamplingAtSpeed(Sampling):
    """Takes its looks one after the other, in the thread that asks for them."""

    def start(self, timeout_s: float = 0.0) -> None:
        """Wait to be asked."""

    def look(self) -> None:
        """Take one look and hand it on."""
        self._tick()

    def finish(self) -> None:
        """Close the source."""
        self._sampler.stop()


class Worker:
    """A worker of the agent's own parts, whose looks are taken when they are asked for."""

    def __init__(self, folder: Path, port: int, worker_id: str, token: str) -> None:
        agent.node.Sampling = SamplingAtSpeed  # type: ignore[attr-defined]
        who = identity(folder, worker_id, Credentials(worker_id, token))
        self.node = agent.node.WorkerNode(
            who,
            BrokerAddress("127.0.0.1", port, tls=False),
            Topics(),
            AgentSettings(interval_s=INTERVAL_S),
            sampler=NvmlSampler(ProcessTable()),
            cards=KnownCards(who.folder / "cards.json"),
            host=HostSampler().read,
            machine=this_machine(),
            conditions=CommandConditions(command_environment(dict(os.environ))),
        )
        sampling = self.node._sampling
        assert isinstance(sampling, SamplingAtSpeed)
        self.sampling = sampling

    def flush(self) -> None:
        """Wait until the broker has all that was published."""
        self.node.happened(Event(time=time.time(), kind="health", text="flushed"))
        if not self.node._link.flush(START_TIMEOUT_S):
            raise BenchmarkError(f"the broker did not take what was published within {START_TIMEOUT_S} s")


def report(hour: int, *, is_tracing: bool) -> None:
    """Print what the process holds now."""
    gc.collect()
    pss, rss = memory_bytes(os.getpid())
    facts = {
        "event": "hour",
        "hour": hour,
        "rss": rss,
        "pss": pss,
        "traced": tracemalloc.get_traced_memory()[0] if is_tracing else None,
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "cpu_s": time.process_time(),
    }
    print(json.dumps(facts), flush=True)


def main() -> int:
    """Read the command line, and let the day pass."""
    parser = argparse.ArgumentParser(prog="python -m bench.day_of_samples", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--pids", type=int, nargs="+", required=True)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--trace", action="store_true", help="trace Python's allocations: three times as slow")
    arguments = parser.parse_args()
    clock, day = JumpingClock(), BadDay(Path(os.environ[STATE_VARIABLE]), arguments.pids, arguments.gpus)
    for module in ON_THE_CLOCK:
        module.time = clock  # type: ignore[attr-defined]
    worker = Worker(arguments.folder, arguments.port, arguments.worker_id, read_secret(arguments.token_file))
    day.pass_to(0)
    worker.node.start()
    if not worker.node._link.wait_connected(START_TIMEOUT_S):
        raise BenchmarkError(f"no connection to the broker within {START_TIMEOUT_S} s")
    for second in range(arguments.hours * HOUR + 1):
        if second == MINUTE:  # what is made once has been made
            memory.settle()
            if arguments.trace:
                tracemalloc.start()
        day.pass_to(second)
        worker.sampling.look()
        clock.jump(INTERVAL_S)
        if second % FLUSH_EACH == 0:
            worker.flush()
        if second % HOUR == 0 and second > 0:
            report(second // HOUR, is_tracing=arguments.trace)
    worker.sampling.finish()
    worker.node.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
