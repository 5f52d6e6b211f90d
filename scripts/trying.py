"""What the scripts share that try gpumon whole: saying what they see, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable

_problems: list[str] = []


def see(what: str, is_so: object, figure: object = "") -> None:
    """Say how something is; False is a problem."""
    print(f"  {'✓' if is_so else '✗'} {what}{f': {figure}' if figure != '' else ''}", flush=True)
    if not is_so:
        _problems.append(what)


def eventually(condition: Callable[[], object], timeout_s: float) -> bool:
    """Tell whether a condition comes true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return bool(condition())


def verdict() -> int:
    """Say in a line how it was in all; return the exit code."""
    print(f"{len(_problems)} not as it should be" if _problems else "all is as it should be")
    return 1 if _problems else 0
