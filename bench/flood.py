"""Wrong passwords without a pause, `python -m bench.flood --port PORT`: says when it begins, ends with its input.

Half of the log-ins are with one person's name, half with names that nobody has: for both the broker would hash what it
is told. They come from this machine, which is not limited by its address, the worst case.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sys

import uvloop

from bench import packets
from bench.deployment import USER

AT_ONCE = 100


async def _guess(port: int, numbers: itertools.count[int]) -> None:
    for number in numbers:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        name = USER if number % 2 else f"nobody-{number}"
        writer.write(packets.connect(f"guess-{number}", (name, "wrong"), ("a", "b"), 60))
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()


async def _run(port: int) -> None:
    numbers = itertools.count()
    guesses = [asyncio.ensure_future(_guess(port, numbers)) for _ in range(AT_ONCE)]
    print(json.dumps({"event": "flooding"}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for guess in guesses:
        guess.cancel()


def main() -> int:
    """Flood until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="MQTT port on 127.0.0.1")
    uvloop.run(_run(parser.parse_args().port))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
