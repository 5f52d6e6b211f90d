"""The page that is attacked, and everybody who comes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.audit import BY_ITSELF
from tests.support import eventually, mosquitto
from tests.webui.attack_table import ACCOUNTS, PASSWORD, VIEWERS
from tests.webui.running import RunningPage, form_token
from tests.webui.worker_double import WorkerDouble, idle


@dataclass
class Target:
    """The page that is attacked, and all who come."""

    page: RunningPage
    attackers: dict[str, requests.Session]
    csrf: dict[str, str]
    inside: WorkerDouble
    outside: WorkerDouble

    def ask(self, who: str, method: str, path: str, *, csrf: bool = True, **options: Any) -> requests.Response:
        """Send a request as one of those who come."""
        headers = {"X-CSRFToken": self.csrf[who]} if csrf and who in self.csrf else {}
        headers |= options.pop("headers", {})
        return self.attackers[who].request(
            method, self.page.address + path, headers=headers, allow_redirects=False, timeout=10, **options
        )


def new_session(page: RunningPage, name: str, password: str = PASSWORD) -> requests.Session:
    session = requests.Session()
    token = form_token(session, f"{page.address}/login")
    form = {"csrf": token, "name": name, "password": password}
    answer = session.post(f"{page.address}/login", data=form, allow_redirects=False, timeout=10)
    assert answer.status_code == 303 or ACCOUNTS[name][0] is Role.INTEGRATION, answer.text
    return session


def bearer(token: str, session: requests.Session | None = None) -> requests.Session:
    session = session or requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


@contextmanager
def attacked(folder: Path, serve: Callable[[Path, int], AbstractContextManager[RunningPage]]) -> Iterator[Target]:
    """Serve a page until the block ends, with everybody of the table before its door."""
    with mosquitto(folder) as mqtt_port, serve(folder, mqtt_port) as page:
        inside = WorkerDouble(mqtt_port, "inside", labels={"rack": "3"}).start([idle(0)])
        outside = WorkerDouble(mqtt_port, "outside", labels={"rack": "4"}).start([idle(0)])
        attackers: dict[str, requests.Session] = {"nobody": requests.Session()}
        with open_accounts(DataFolder(page.data)) as accounts:
            for name, (role, limit) in ACCOUNTS.items():
                accounts.add_user(name, role, PASSWORD, limit)
                attackers[f"P {name}"] = new_session(page, name)
                attackers[f"T {name}"] = bearer(accounts.tokens.make(name, "attack")[1])
            attackers["worker token"] = bearer(accounts.add_worker("w1"))
            revoked, token = accounts.tokens.make("admin", "revoked")
            accounts.tokens.revoke(revoked.id)
            attackers["revoked token"] = bearer(token)
            attackers["expired token"] = bearer(accounts.tokens.make("admin", "old", lifetime_s=0.001)[1])
            attackers["made-up token"] = bearer(f"gpt_{'x' * 43}")
            attackers["ended session"] = new_session(page, "admin")
            accounts.sessions.end_all("admin", BY_ITSELF)
            attackers["P admin"] = new_session(page, "admin")
        attackers["logged out"] = logged_out_copy(page)
        attackers["forged cookie"] = requests.Session()
        attackers["forged cookie"].cookies.set("gpumon", "eyJzZWNyZXQiOiJ4In0.aSQwAA.AAAAAAAAAAAAAAAAAAAAAAAAAAA")
        attackers["wrong token beside a good session"] = bearer(f"gpt_{'y' * 43}", new_session(page, "admin"))
        csrf = {
            who: session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
            for who, session in attackers.items()
            if who in VIEWERS
        }
        target = Target(page, attackers, csrf, inside, outside)
        eventually(lambda: len(target.ask("P viewer", "GET", "/api/v1/workers").json()["rows"]) == 2)
        yield target
        inside.stop()
        outside.stop()


def logged_out_copy(page: RunningPage) -> requests.Session:
    """Return a copy of an admin's cookie, made before that admin logged out."""
    session = new_session(page, "admin")
    copy = requests.Session()
    copy.cookies.update(session.cookies)
    token = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
    session.post(f"{page.address}/logout", data={"csrf": token}, timeout=10)
    return copy
