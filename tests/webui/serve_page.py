"""Serves the page over a real master, as a process: `python -m tests.webui.serve_page DATA PORT MQTT_PORT THREADS`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import msgspec

from gpumon.address import BrokerAddress
from gpumon.cli.join_line import join_line
from gpumon.cli.reach import reach_by
from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.files import ensure_secret
from gpumon.link import Credentials
from gpumon.log import configure_logging
from gpumon.settings import Settings
from master.master import Master, prepare
from webui.app import WebUi
from webui.server import serve


def main() -> int:
    """Serve until a signal."""
    folder, port, mqtt_port, threads = sys.argv[1:]
    configure_logging("info")
    data = DataFolder(Path(folder))
    settings = msgspec.convert(
        {
            "data": folder,
            "page": {"port": int(port), "threads": int(threads)},
            "mqtt": {"port": int(mqtt_port)},
        },
        Settings,
    )
    prepare(data)
    ensure_secret(data.master_secret)
    address = BrokerAddress("127.0.0.1", int(mqtt_port), tls=False)
    master = Master(settings, data, address, Credentials("master", "unused"))
    try:
        page = WebUi(
            master,
            settings,
            ensure_secret(data.session_secret),
            partial(join_line, settings, reach_by(settings, data)),
        )
        serve(page, "127.0.0.1", int(port), int(threads))
    except GpumonError as error:
        sys.stderr.write(f"gpumon: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
