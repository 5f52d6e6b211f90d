"""NVML's own share of an agent's cost: the calls of one sample, recorded from the sampler, made bare each interval.

`python -m bench.nvml_loop` reads a few samples with the agent's sampler and notes which NVML functions it calls with
which arguments. It then makes those calls through nvidia-ml-py and does nothing else, at the agent's pace, since calls
made in a tight loop find everything in the processor's caches. It prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pynvml

from agent.nvml import Nvml
from agent.processes import ProcessTable
from agent.samplers.nvml import NvmlSampler

Call = tuple[Callable[..., Any], Sequence[Any]]
SAMPLES_BEFORE = 3  # what a card does not support is asked for once and then left out


@contextlib.contextmanager
def recorded() -> Iterator[list[Call]]:
    """Give a list that fills with the calls which go through the agent's one way to NVML."""
    calls: list[Call] = []
    original = Nvml.call
    recording = threading.get_ident()  # the thread that waits for XIDs is not part of a sample

    def call(
        self: Nvml, function: Callable[..., Any], args: Sequence[Any], about: str | None = None
    ) -> tuple[Any, bool]:
        if threading.get_ident() == recording:
            calls.append((function, args))
        return original(self, function, args, about)

    Nvml.call = call  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Nvml.call = original  # type: ignore[method-assign]


def calls_of_one_sample() -> tuple[NvmlSampler, list[Call]]:
    """Return a started sampler and the calls that it makes for one sample."""
    sampler = NvmlSampler(ProcessTable())
    sampler.start()
    for _ in range(SAMPLES_BEFORE):
        sampler.read()
        time.sleep(0.3)
    with recorded() as calls:
        sampler.read()
    return sampler, calls


def main() -> int:
    """Read the command line, record and repeat."""
    parser = argparse.ArgumentParser(prog="python -m bench.nvml_loop", description=__doc__)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    sampler, calls = calls_of_one_sample()
    rounds = max(1, round(arguments.seconds / arguments.interval))
    started, cpu_started = time.monotonic(), time.process_time()
    for number in range(rounds):
        for function, args in calls:
            with contextlib.suppress(pynvml.NVMLError):
                function(*args)
        time.sleep(max(0.0, started + (number + 1) * arguments.interval - time.monotonic()))
    facts = {
        "event": "done",
        "calls": len(calls),
        "rounds": rounds,
        "cpu_s": time.process_time() - cpu_started,
        "wall_s": time.monotonic() - started,
    }
    sampler.stop()
    print(json.dumps(facts), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
