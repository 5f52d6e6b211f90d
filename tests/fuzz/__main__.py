"""`make fuzz`, or `python -m tests.fuzz [--minutes 5]`: hostile inputs at random for a while, and how many were tried.

The first input that makes a test fail ends it, with exit code 1; it is printed, and belongs into the test's `found`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES_A_ROUND = 500
GUIDED_SHARE = 0.4
DONE = re.compile(r"Done (\d+) runs|#(\d+)\s+DONE", re.MULTILINE)


def main() -> int:
    """Fuzz until the time is up or something fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default 5)")
    minutes: float = parser.parse_args().minutes
    harnesses = sorted(HERE.glob("atheris_*.py")) if importlib.util.find_spec("atheris") else []
    guided_s = minutes * 60 * (GUIDED_SHARE if harnesses else 0)
    tried: Counter[str] = Counter()
    is_good = _rounds(minutes * 60 - guided_s, tried)
    for harness in harnesses:
        is_good = is_good and _guided(harness, guided_s / len(harnesses), tried)
    if not harnesses:
        _say("atheris is not installed (pip install atheris): coverage did not guide the inputs")
    width = max(map(len, tried), default=0)
    for target, count in sorted(tried.items()):
        _say(f"{target:<{width}} {count:>12,}")
    _say(f"{'all':<{width}} {sum(tried.values()):>12,}")
    return 0 if is_good else 1


def _rounds(seconds: float, tried: Counter[str]) -> bool:
    """Repeat the suite with many more inputs than usual, different ones each time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with tempfile.NamedTemporaryFile() as counts:
            environment = {**os.environ, "FUZZ_EXAMPLES": str(EXAMPLES_A_ROUND), "FUZZ_TRIED": counts.name}
            command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=0", str(HERE)]
            finished = subprocess.run(command, env=environment, check=False)
            tried.update(json.loads(counts.read() or b"{}"))
        if finished.returncode != 0:
            return False
    return True


def _guided(harness: Path, seconds: float, tried: Counter[str]) -> bool:
    """Let atheris look for inputs that reach further into the code."""
    with tempfile.TemporaryDirectory() as corpus:
        command = [
            sys.executable,
            "-m",
            f"tests.fuzz.{harness.stem}",
            f"-max_total_time={max(int(seconds), 1)}",
            corpus,
        ]
        finished = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    counts = [int(first or second) for first, second in DONE.findall(finished.stderr)]
    tried[f"{harness.stem.removeprefix('atheris_')} (guided)"] += max(counts, default=0)
    if finished.returncode != 0:
        _say(f"{finished.stdout}\n{finished.stderr}")
    return finished.returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
