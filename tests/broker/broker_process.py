"""Runs a broker with made-up accounts as a process of its own: `python -m tests.broker.broker_process PORT`."""

from __future__ import annotations

import sys

from broker.service import run_broker
from gpumon.errors import GpumonError
from gpumon.log import configure_logging
from tests.broker.support import FakeDirectory, settings_for


def main() -> int:
    configure_logging("info")
    try:
        run_broker(settings_for(int(sys.argv[1])), FakeDirectory())
    except GpumonError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
