"""Somebody who looks at a dashboard over Prometheus: `python -m bench.peers.dashboard --help`.

Once a refresh it asks Prometheus' HTTP API for what four panels over the whole fleet show, the newest value of every
card, one panel after the other. For each sample that an answer shows for the first time it notes how long after its
scrape that answer had arrived. It prints one JSON object a line: `watching`, then after the line `stop` `stopped`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

import msgspec

PANELS = (
    "timestamp(DCGM_FI_DEV_GPU_TEMP)",  # as costly as the temperature itself, and tells the moment of its scrape
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_POWER_USAGE",
)
TIMEOUT_S = 30.0


class Dashboard:
    """Asks at each refresh and keeps when every sample was first seen."""

    def __init__(self, url: str, refresh_s: float) -> None:
        self.samples: list[tuple[float, float]] = []
        self.ages_s: list[float] = []
        self.answers_s: list[float] = []
        self.answer_bytes = 0
        self._url = url
        self._refresh_s = refresh_s
        self._last: dict[str, float] = {}

    def run(self, ended: threading.Event) -> None:
        """Refresh until told to end."""
        due = time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            due += self._refresh_s
            self.refresh()

    def refresh(self) -> None:
        """Ask for all panels once."""
        began = time.monotonic()
        answers = [self._ask(expression) for expression in PANELS]
        self.answers_s.append(time.monotonic() - began)
        shown = time.time()  # a person sees the panels when they are all there
        for moment, age in newly_shown(msgspec.json.decode(answers[0]), self._last, shown):
            self.samples.append((moment, age))
        self.ages_s += [shown - moment for moment in self._last.values()]
        self.answer_bytes = sum(map(len, answers))

    def _ask(self, expression: str) -> bytes:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{query}", timeout=TIMEOUT_S) as answer:
            text: bytes = answer.read()
        return text


def newly_shown(answer: dict[str, Any], last: dict[str, float], shown: float) -> list[tuple[float, float]]:
    """Return the moment of each worker's sample that was not in an answer before, and its age when it is shown.

    `last` holds the newest moment of each worker, and is brought up to date.
    """
    new = []
    for series in answer["data"]["result"]:
        if series["metric"]["gpu"] != "0":
            continue  # all cards of a worker are of the same scrape
        worker, moment = series["metric"]["instance"], float(series["value"][1])
        if last.get(worker) != moment:
            last[worker] = moment
            new.append((moment, shown - moment))
    return new


def main() -> int:
    """Read the command line and look."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.dashboard", description=__doc__)
    parser.add_argument("--prometheus", required=True, help="address of Prometheus")
    parser.add_argument("--refresh", type=float, default=5.0, help="seconds between two refreshes")
    arguments = parser.parse_args()
    dashboard = Dashboard(arguments.prometheus, arguments.refresh)
    ended = threading.Event()
    thread = threading.Thread(target=dashboard.run, args=(ended,), daemon=True)
    thread.start()
    print(json.dumps({"event": "watching"}), flush=True)
    sys.stdin.readline()
    ended.set()
    thread.join()
    facts = {
        "samples": dashboard.samples,
        "ages_s": dashboard.ages_s,
        "answers_s": dashboard.answers_s,
        "answer_bytes": dashboard.answer_bytes,
    }
    print(json.dumps({"event": "stopped", **facts}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
