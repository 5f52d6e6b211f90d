"""`gpumon master`: the master and its page."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gpumon.address import page_address, page_has_tls
from gpumon.cli.accounts import accounts_of
from gpumon.cli.connection import (
    BROKER_SETTINGS,
    DATABASE_SETTINGS,
    PEERS_SETTINGS,
    TLS_SETTINGS,
    data_folder,
    masters_way_in,
)
from gpumon.cli.join_line import check_can_join, join_line
from gpumon.cli.reach import note_reach, reach_by
from gpumon.datafolder import DataFolder
from gpumon.errors import StartError
from gpumon.files import ensure_secret, write_secret
from gpumon.queue_address import queue_address
from gpumon.settings import Settings
from master.alerts.rulebook import rules_of_settings
from master.join_keys import JoinKey
from master.master import Master, prepare
from master.store.engine import Store, StoreError
from master.store.installation import session_key
from webui.app import WebUi
from webui.server import serve

if TYPE_CHECKING:
    from broker.server_tls import ServerTls

logger = logging.getLogger(__name__)

SETTINGS = (
    *TLS_SETTINGS,
    "page.port",
    "page.threads",
    "page.insecure_http",
    "page.origins",
    "page.max_connections_per_address",
    "page.session_hours",
    "mqtt.port",
    "mqtt.base",
    *BROKER_SETTINGS,
    *DATABASE_SETTINGS,
    *PEERS_SETTINGS,
    "master.save_interval_s",
    "master.command_days",
)


def add_arguments(_parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare nothing beyond settings."""
    return []


def run(_arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT."""
    data = data_folder(settings)
    if data.server is not None and data.server.password is not None:
        logger.warning(
            "database.url in the settings file holds a password: better put it in a file of mode 0600 and name that in "
            "database.password_file"
        )
    rules_of_settings(settings.alerts.rules)  # so that a wrong one ends it before anything is served
    shares_fleet = queue_address(settings) is not None
    address, credentials, cafile = masters_way_in(settings, data)
    certificate = _certificate(settings, data)
    tls = None if certificate is None else certificate.open()
    prepare(data)
    note_reach(settings, data)
    _show_first_login(settings, data, certificate)
    key = _shared_session_key(data) if shares_fleet else ensure_secret(data.session_secret)
    master = Master(settings, data, address, credentials, cafile)
    page = WebUi(master, settings, key, partial(_join_line, settings, data))
    serve(
        page if certificate is None else _WithCertificate(page, certificate),
        settings.host or "127.0.0.1",
        settings.page.port,
        settings.page.threads,
        tls=tls,
        scheme="https" if any(origin.startswith("https://") for origin in settings.page.origins) else None,
        # Before a proxy, everybody comes from one address.
        most_per_address=None if settings.page.insecure_http else settings.page.max_connections_per_address,
    )
    return 0


def _shared_session_key(data: DataFolder) -> str:
    """Return the key that all masters of the installation sign cookies with. Raises StartError."""
    store = Store(data)
    try:
        return session_key(store)
    except StoreError as error:
        raise StartError(str(error)) from error
    finally:
        store.stop()


def _join_line(settings: Settings, data: DataFolder, key: JoinKey | None, secret: str) -> str:
    check_can_join(settings)
    return join_line(settings, reach_by(settings, data), key, secret)


class _WithCertificate:
    """The page, with its certificate looked after in the process that serves it."""

    def __init__(self, page: WebUi, certificate: ServerTls) -> None:
        self._page = page
        self._certificate = certificate

    def start(self) -> Any:
        """Start both and return the WSGI application. Raises GpumonError."""
        self._certificate.start()
        return self._page.start()

    def close_connections(self) -> None:
        """End the live connections."""
        self._page.close_connections()

    def stop(self) -> None:
        """Stop both."""
        self._page.stop()
        self._certificate.stop()


def _certificate(settings: Settings, data: DataFolder) -> ServerTls | None:
    if not page_has_tls(settings):
        return None
    from gpumon.cli.tls import server_tls  # noqa: PLC0415 - its import takes time, for other machines alone

    return server_tls(settings, data)


def _show_first_login(settings: Settings, data: DataFolder, certificate: ServerTls | None) -> None:
    with accounts_of(settings, data) as accounts:
        password = accounts.first_login()
    lines = [f"gpumon's page is at {page_address(settings)}"]
    if certificate is not None:
        lines += _how_to_trust(settings, data, certificate)
    if password is None:
        if sys.stdout.isatty():
            print("\n".join(lines), flush=True)
        return
    if sys.stdout.isatty():
        lines += [
            f"log in as admin with the password {password} (shown this once)",
            f"let a machine join with the line that this prints: {sys.argv[0]} join-key",
        ]
        print("\n" + "\n".join(lines) + "\n", flush=True)
        return
    write_secret(data.first_login, password)
    lines.append(f"admin's first password is in {data.first_login}")
    print("\n".join(lines), flush=True)


def _how_to_trust(settings: Settings, data: DataFolder, certificate: ServerTls) -> list[str]:
    fingerprint = f"its certificate's SHA-256 fingerprint is {certificate.fingerprint}"
    if settings.tls.cert is not None:
        return [fingerprint]
    return [
        fingerprint,
        f"a browser that does not know gpumon's authority warns: compare that, or let it trust {data.authority}",
    ]
