"""A data folder as a master leaves it, and whether another one is the same."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret
from gpumon.roles import Role
from master.accounts import Accounts
from master.audit import Actor
from master.prepare import prepare
from master.store.engine import Store
from master.store.models import Base

BY = Actor("eve", "cli")


def filled(data: DataFolder, admin: str = "eve") -> DataFolder:
    """Make a folder with accounts, secrets, certificates, settings and an agent of this machine."""
    prepare(data)
    ensure_secret(data.session_secret)
    store = Store(data)
    accounts = Accounts(store)
    accounts.add_user(admin, Role.ADMIN, "correct horse")
    accounts.add_worker("w1")
    accounts.close()
    store.stop()
    files = {
        "tls/ca.crt": "certificate",
        "tls/ca.key": "key",
        "tls/.lock": "",
        "tokens/w1.token": "token",
        "agent/w1/client-id": "id",
        "agent/w1/lock": "",
        "gpumon.toml": "[master]\ncommand_days = 7\n",
    }
    for name, text in files.items():
        path = data.root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644 if name.endswith(".crt") else 0o600)
    return data


def files_of(root: Path) -> dict[str, tuple[bytes, int]]:
    """What is in a folder beside the database and what is not for keeping, with each file's mode."""
    passed_over = ("gpumon.db", ".", "before-restore-")
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not name.startswith(passed_over) and path.name not in ("lock", ".lock"):
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def rows_of(data: DataFolder) -> dict[str, list[str]]:
    """What is in every table, but for the audit's word on backups."""
    store = Store(data)
    with store.read() as connection:
        found = {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in Base.metadata.sorted_tables
        }
    store.stop()
    found["audit"] = [row for row in found["audit"] if "'backup." not in row]
    return found
