"""Gathering: workers that answered the same are shown once, the most common answer first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

from gpumon.cli.fleet_run import WorkerRun
from gpumon.cli.prefixed import printable


def groups(runs: Mapping[str, WorkerRun]) -> list[tuple[list[str], str]]:
    """Return the workers of each distinct output with that output, the largest group first."""
    by_output: defaultdict[str, list[str]] = defaultdict(list)
    for worker_id, run in sorted(runs.items()):
        by_output[run.output].append(worker_id)
    return sorted(
        ((workers, output) for output, workers in by_output.items()), key=lambda group: (-len(group[0]), group)
    )


def gathered(runs: Mapping[str, WorkerRun]) -> str:
    """Return each distinct output once, under the names of the workers that wrote it."""
    parts = []
    for workers, output in groups(runs):
        body = printable(output)
        parts.append(
            f"--- {', '.join(workers)} ({len(workers)})\n{body}{'' if not body or body.endswith(chr(10)) else chr(10)}"
        )
    return "".join(parts)


def as_json(runs: Mapping[str, WorkerRun]) -> str:
    """Return how it ended on each worker, with all of its output, for scripts."""
    ended = [
        {
            "worker": worker_id,
            "state": run.result.state if run.result is not None else "lost",
            "exit_code": run.result.exit_code if run.result is not None else None,
            "duration_s": run.result.duration_s if run.result is not None else None,
            "output": run.output,
            "truncated": run.result is not None and run.result.truncated,
            "problem": run.result.problem if run.result is not None else None,
        }
        for worker_id, run in sorted(runs.items())
    ]
    return json.dumps(ended, indent=2, ensure_ascii=False)


def summary(runs: Mapping[str, WorkerRun]) -> str:
    """Return one line: how many succeeded and failed, and how many wrote the same."""
    failed = sorted(
        worker_id
        for worker_id, run in runs.items()
        if run.result is None or run.result.state != "finished" or run.result.exit_code != 0
    )
    largest = groups(runs)[0][0] if runs else []
    others = sorted(set(runs) - set(largest))
    same = f"{len(largest)} workers: same output" if len(largest) > 1 else "every output differs"
    differ = f"; {len(others)} differ: {', '.join(others)}" if others and len(largest) > 1 else ""
    return f"{same}{differ} - {len(runs) - len(failed)} succeeded, {len(failed)} failed" + (
        f": {', '.join(failed)}" if failed else ""
    )
