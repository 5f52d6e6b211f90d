"""A master on this machine: its folder, its database, its page."""

from __future__ import annotations

import importlib
import socket
import stat
from collections.abc import Iterator

from gpumon.cli.doctor.finding import Finding, Verdict, not_installed
from gpumon.cli.page_health import PageHealth, page_health
from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError
from gpumon.settings import Settings

PORT_TIMEOUT_S = 1.0


def look_at_master(settings: Settings, data: DataFolder) -> Iterator[Finding]:
    """Look at what a master keeps in this folder, and whether its page answers."""
    yield _secrets(data)
    yield _database(data)
    yield from _page(settings, data)


def _secrets(data: DataFolder) -> Finding:
    what = "secrets"
    kept = (data.master_secret, data.session_secret, data.database, data.certificates / "ca.key", data.first_login)
    opened = [path for path in kept if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if opened:
        names = ", ".join(path.name for path in opened)
        return Finding(what, Verdict.BAD, f"others may read {names}", f"chmod 600 {' '.join(map(str, opened))}")
    if data.first_login.exists():
        to_do = f"log in, change it, and delete {data.first_login}"
        return Finding(what, Verdict.WARNING, "admin's first password is still kept in a file", to_do)
    return Finding(what, Verdict.GOOD, f"{data.root} is for this user alone")


def _database(data: DataFolder) -> Finding:
    what = "database"
    try:
        engine = importlib.import_module("master.store.engine")
    except ModuleNotFoundError as error:
        return not_installed(what, error, "pip install 'gpumon[master]'")
    store = engine.Store(data)
    try:
        store.start()
        with store.read() as connection:
            check = "SELECT 'ok'" if data.server is not None else "PRAGMA quick_check(1)"
            answer = connection.exec_driver_sql(check).scalar()
    except GpumonError as error:
        return Finding(what, Verdict.BAD, str(error))
    finally:
        store.stop()
    if data.server is not None:
        return Finding(what, Verdict.GOOD, f"{data.server} answers")
    if answer != "ok":
        to_do = f"stop gpumon, keep a copy, then: sqlite3 {data.database} .recover"
        return Finding(what, Verdict.BAD, f"{data.database} is damaged: {answer}", to_do)
    size = data.database.stat().st_size / 2**20
    return Finding(what, Verdict.GOOD, f"{data.database} is whole ({size:.0f} MiB)")


def _page(settings: Settings, data: DataFolder) -> Iterator[Finding]:
    what = "page"
    health = page_health(settings, data)
    if health is not None:
        yield Finding(what, Verdict.GOOD, f"{health.address} answers")
        yield _as_it_says(health)
        return
    for name, port, flag in (("page", settings.page.port, "--port"), ("broker", settings.mqtt.port, "--mqtt-port")):
        if _is_taken(port):
            to_do = f"end what listens there (sudo ss -ltnp sport = :{port}), or give gpumon up another with {flag}"
            yield Finding(f"{name}'s port", Verdict.WARNING, f"something else listens on port {port}", to_do)
    to_do = "start it with gpumon up; if it serves another port, name that with --port"
    yield Finding(what, Verdict.BAD, f"no gpumon page answers on port {settings.page.port} of this machine", to_do)


def _as_it_says(health: PageHealth) -> Finding:
    if health.problems:
        return Finding("master", Verdict.BAD, f"it says: {'; '.join(health.problems)}", "see its log for why")
    return Finding("master", Verdict.GOOD, "it reaches its broker and keeps what it hears")


def _is_taken(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PORT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
