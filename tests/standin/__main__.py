"""Compiles the stand-in into a folder and describes a machine there: `python -m tests.standin FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.standin import STATE_VARIABLE, build, mixed_machine


def main() -> int:
    """Make the library and the description, and print how to use them."""
    if len(sys.argv) != 2:
        print("usage: python -m tests.standin FOLDER", file=sys.stderr)  # noqa: T201 - it is its answer
        return 2
    folder = build(Path(sys.argv[1]).resolve())
    state = folder / "gpus.txt"
    if not state.exists():
        mixed_machine().write(state)
    print(f"export LD_LIBRARY_PATH={folder} {STATE_VARIABLE}={state}")  # noqa: T201 - it is its answer
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
