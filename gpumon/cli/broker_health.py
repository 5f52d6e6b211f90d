"""Whether the embedded broker of this machine lets in its master."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.cli.connection import MASTER_USER
from gpumon.cli.reach import as_the_master_runs
from gpumon.datafolder import DataFolder
from gpumon.files import read_secret
from gpumon.link import Credentials, MqttLink
from gpumon.settings import Settings

ANSWER_TIMEOUT_S = 5.0


def broker_problem(settings: Settings) -> str | None:
    """Log in as the master does, and return why that does not work, None where it does.

    Raises SecretFileError: when the master's secret cannot be read.
    """
    logging.getLogger("gpumon.link").setLevel(logging.ERROR)  # what it would say is returned
    secret = read_secret(DataFolder(Path(settings.data)).master_secret)
    address = BrokerAddress("127.0.0.1", as_the_master_runs(settings).mqtt.port, tls=False)
    link = MqttLink(address, f"gpumon-health-{secrets.token_hex(8)}", Credentials(MASTER_USER, secret))
    link.start()
    try:
        is_in = link.wait_listening(ANSWER_TIMEOUT_S)
        return None if is_in else link.problem
    finally:
        link.stop()
