"""The same deployment with Debian's mosquitto as its broker, which lets in by a password file and an ACL file."""

from __future__ import annotations

import getpass
import json
import secrets
import shutil
import subprocess
from pathlib import Path

from bench.children import Children, wait_until
from bench.deployment import START_TIMEOUT_S, Deployment, clean_environment, listens
from bench.errors import BenchmarkError
from gpumon.files import write_secret

MASTER = "gpumon"
ACL = Path(__file__).parents[1] / "config" / "mosquitto" / "acl"


class MosquittoDeployment(Deployment):
    """A mosquitto and a master that has it as `broker.url`. Constructing it does nothing."""

    def __init__(self, folder: Path, children: Children, *, tls: bool = False) -> None:
        if tls:
            raise BenchmarkError("mosquitto is measured without TLS: its own costs are not gpumon's")
        super().__init__(folder, children)
        self._folder = folder

    def add_accounts(self, workers: int, *more: str) -> None:
        """Make the accounts, and mosquitto's password file of the same names and tokens."""
        super().add_accounts(workers, *more)
        tokens = json.loads(self.accounts_file.read_text())
        tokens[MASTER] = secrets.token_urlsafe(24)
        write_secret(self.data.root / "broker.password", tokens[MASTER])
        passwords = self._folder / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text("".join(f"{name}:{token}\n" for name, token in tokens.items()))
        subprocess.run([_program("mosquitto_passwd"), "-U", str(passwords)], check=True)

    def start_broker(self) -> None:
        """Start mosquitto; return when it listens."""
        acl = self._folder / "acl"
        acl.write_text(ACL.read_text())
        acl.chmod(0o600)
        configuration = self._folder / "mosquitto.conf"
        configuration.write_text(
            f"user {getpass.getuser()}\nlistener {self.mqtt_port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {self._folder / 'passwords'}\nacl_file {acl}\npersistence false\n"
            "max_queued_messages 20000\nmax_inflight_messages 1000\n"
        )
        command = [_program("mosquitto"), "-c", str(configuration)]
        self.broker = self._children.start("broker", command, clean_environment())
        wait_until(lambda: listens(self.mqtt_port), "mosquitto listens", START_TIMEOUT_S, self._children)

    def _master_flags(self) -> list[str]:
        password_file = str(self.data.root / "broker.password")
        url = f"mqtt://127.0.0.1:{self.mqtt_port}"
        return ["--broker-url", url, "--broker-username", MASTER, "--broker-password-file", password_file]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchmarkError(f"{name} is not installed: apt-get install mosquitto")
    return found
