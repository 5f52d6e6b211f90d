"""Real workers with made-up cards, many in one process, until SIGTERM: `python -m bench.soak.workers --help`."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from agent.demo import demo_node
from agent.identity import identity
from bench.soak import shifted_clock
from gpumon.address import BrokerAddress
from gpumon.link import Credentials
from gpumon.settings import AgentSettings, Settings


def main() -> int:
    """Run the workers of some accounts until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak.workers", description=__doc__)
    parser.add_argument("--accounts", type=Path, required=True, help="JSON file: worker id -> token")
    parser.add_argument("--port", type=int, required=True, help="MQTT port on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="folder for what agents keep")
    parser.add_argument("--first", type=int, required=True, help="number of the first account")
    parser.add_argument("--count", type=int, required=True, help="how many workers")
    parser.add_argument("--interval", type=float, required=True, help="seconds between two samples")
    parser.add_argument("--clock", type=Path, required=True, help="file with the seconds by which the clock is wrong")
    arguments = parser.parse_args()
    shifted_clock.follow(arguments.clock)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tokens = list(json.loads(arguments.accounts.read_text()).items())
    settings = Settings(data=str(arguments.data), agent=AgentSettings(interval_s=arguments.interval))
    address = BrokerAddress("127.0.0.1", arguments.port, tls=False)
    mine = tokens[arguments.first : arguments.first + arguments.count]
    nodes = [
        demo_node(settings, address, identity(arguments.data, id_, Credentials(id_, token)), number)
        for number, (id_, token) in enumerate(mine, arguments.first)
    ]
    for node in nodes:
        node.start()
    stop.wait()
    for node in nodes:
        node.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
