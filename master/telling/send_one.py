"""The process that sends one message: reads a job (JSON) from standard input, writes how it went to standard output.

Run by `courier`; it ends itself a little after its deadline, also where the master was killed meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from master.telling.apprise_sending import check_urls, send_by_apprise
from master.telling.secrecy import without_secrets
from master.telling.webhook_sending import send_by_webhook


def main() -> int:
    """Do one job."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    job: dict[str, Any] = json.load(sys.stdin)
    # By the kernel, whatever the process is held up by.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, float(job["deadline_s"]) + 1.0)
    answers.write(json.dumps(_done(job)))
    answers.flush()
    os._exit(0)  # nobody waits for threads that a plugin has left


def _done(job: dict[str, Any]) -> dict[str, Any]:
    try:
        if job["do"] == "check":
            return {"problems": check_urls(job["urls"])}
        outcome, problem = send_by_webhook(job) if job["do"] == "webhook" else send_by_apprise(job)
    except Exception as error:  # noqa: BLE001 - of any plugin and library; what is known of it is answered
        outcome, problem = "uncertain", f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "problem": problem and without_secrets(problem, job["url"])}


if __name__ == "__main__":
    sys.exit(main())
