"""`gpumon master`: the master and its page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gpumon.cli.accounts import accounts_of
from gpumon.cli.connection import BROKER_SETTINGS, data_folder, masters_way_in
from gpumon.cli.up import check_host
from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret, write_secret
from gpumon.settings import Settings
from master.master import Master, prepare
from webui.app import WebUi
from webui.server import serve

SETTINGS = (
    "host",
    "page.port",
    "page.threads",
    "page.insecure_http",
    "page.session_hours",
    "mqtt.port",
    "mqtt.base",
    *BROKER_SETTINGS,
    "master.save_interval_s",
    "master.command_days",
)


def add_arguments(_parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare nothing beyond settings."""
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    check_host(settings)
    data = data_folder(settings)
    address, credentials, cafile = masters_way_in(settings, data)
    prepare(data)
    _show_first_login(settings, data)
    session_key = ensure_secret(data.session_secret)
    master = Master(settings, data, address, credentials, cafile)
    serve(WebUi(master, settings, session_key), settings.host or "127.0.0.1", settings.page.port, settings.page.threads)
    return 0


def _show_first_login(settings: Settings, data: DataFolder) -> None:
    with accounts_of(settings, data) as accounts:
        password = accounts.first_login()
    page = f"http://{settings.host or '127.0.0.1'}:{settings.page.port}"
    if password is None:
        if sys.stdout.isatty():
            print(f"gpumon's page is at {page}", flush=True)
        return
    if sys.stdout.isatty():
        print(
            f"\ngpumon's page is at {page}\n"
            f"log in as admin with the password {password} (shown this once)\n"
            f"add a worker with: {sys.argv[0]} worker add NAME\n",
            flush=True,
        )
        return
    write_secret(data.first_login, password)
    print(f"gpumon's page is at {page}; admin's first password is in {data.first_login}", flush=True)
