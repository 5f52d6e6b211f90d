"""`python -m bench [NAME ...]`: run benchmarks, all of them without a name, and write down what they gave."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator

import msgspec

from bench.agent_cost import agent, real_agent
from bench.agent_day import agent_day
from bench.alerts import alerts
from bench.connect import connect
from bench.databases import databases
from bench.delivery import fleet, freshness
from bench.history import history
from bench.history_questions import history_questions
from bench.masters import masters
from bench.page import page
from bench.peers.peers import peers
from bench.reconnect import reconnect
from bench.report import Result, section, write
from bench.scale import embedded, embedded_2000, embedded_tls, mosquitto
from bench.scrape import scrape
from bench.soak.soak import soak
from bench.start import start
from bench.usage import usage
from gpumon.errors import GpumonError

BENCHMARKS: dict[str, Callable[[], Result | Iterator[Result]]] = {
    "start": start,
    "freshness": freshness,
    "connect": connect,
    "reconnect": reconnect,
    "fleet": fleet,
    "embedded": embedded,
    "embedded-tls": embedded_tls,
    "embedded-2000": embedded_2000,
    "mosquitto": mosquitto,
    "agent": agent,
    "agent-day": agent_day,
    "history": history,
    "history-questions": history_questions,
    "databases": databases,
    "masters": masters,
    "alerts": alerts,
    "page": page,
    "usage": usage,
    "scrape": scrape,
    "soak": soak,
    "peers": peers,
}


def main() -> int:
    """Run what the command line names; exit non-zero where one could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure gpumon on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--real", action="store_true", help="measure the agent on this machine's own GPUs")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}: choose from {', '.join(BENCHMARKS)}")
    # An end from outside unwinds the stack as well, so that every process is ended.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    failed = False
    for name in arguments.names or BENCHMARKS:
        load = os.getloadavg()[0]
        print(f"{name} (load {load:.1f}) ...", file=sys.stderr, flush=True)
        try:
            given = real_agent() if name == "agent" and arguments.real else BENCHMARKS[name]()
            for result in [given] if isinstance(given, Result) else given:
                noted = msgspec.structs.replace(result, load_before=load)
                write(noted)
                print(section(noted), flush=True)
        except GpumonError as error:
            print(f"{name} could not be run: {error}", file=sys.stderr, flush=True)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
