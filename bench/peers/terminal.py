"""Run a program on a terminal of its own: `python -m bench.peers.terminal PROGRAM ARGUMENT...`.

What it draws goes to standard output. The terminal answers the question for the cursor's place, which programs ask to
find out that there is somebody at the other end, and knows none of the newer questions.
"""

from __future__ import annotations

import os
import pty
import signal
import sys

WHERE_IS_THE_CURSOR = b"\x1b[6n"
IN_THE_FIRST_COLUMN = b"\x1b[1;1R"


def main() -> int:
    """Run until the program ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    while True:
        try:
            drawn = os.read(terminal, 65_536)
        except OSError:  # that is how a terminal says that nobody is left
            break
        if not drawn:
            break
        for _ in range(drawn.count(WHERE_IS_THE_CURSOR)):
            os.write(terminal, IN_THE_FIRST_COLUMN)
        os.write(1, drawn)
    os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
