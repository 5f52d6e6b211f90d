"""Where things lie in the data folder (`--data`, `./data` by default), and where the database is that goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpumon.database_address import DatabaseAddress


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The data folder's layout; nothing is created by asking."""

    root: Path
    # In place of the file `database`; part of the folder, so that whatever opens it opens the same database.
    server: DatabaseAddress | None = None

    @property
    def settings_file(self) -> Path:
        """The settings that go with this data, if a person wrote any."""
        return self.root / "gpumon.toml"

    @property
    def database(self) -> Path:
        """The master's SQLite database, where no `server` takes its place."""
        return self.root / "gpumon.db"

    @property
    def master_secret(self) -> Path:
        """The password with which the master and its machine's own tools log in to the broker (mode 0600)."""
        return self.root / "master.secret"

    @property
    def session_secret(self) -> Path:
        """The key that signs the page's sessions (mode 0600)."""
        return self.root / "session.secret"

    @property
    def first_login(self) -> Path:
        """The first admin's generated password, where no terminal could show it (mode 0600)."""
        return self.root / "first-login"

    @property
    def certificates(self) -> Path:
        """The folder of gpumon's own authority, `ca.crt` and `ca.key`, and its server certificate."""
        return self.root / "tls"

    @property
    def authority(self) -> Path:
        """The certificate of gpumon's own authority, which agents and others verify the server with."""
        return self.certificates / "ca.crt"

    @property
    def master_lock(self) -> Path:
        """The lock that whoever writes the database for long holds: a master, a move, a restore."""
        return self.root / ".master.lock"

    @property
    def prepare_lock(self) -> Path:
        """The lock under which the folder and its database are brought up to date."""
        return self.root / ".prepare.lock"

    @property
    def reach(self) -> Path:
        """How workers reach the broker, as the master has said at its last start; nothing in it is secret."""
        return self.root / "reach.json"

    @property
    def worker_id(self) -> Path:
        """The id of the first agent that ran with this data, for those that are given none."""
        return self.root / "worker-id"

    @property
    def agents(self) -> Path:
        """The folder in which each agent of this machine has its own."""
        return self.root / "agent"

    def agent(self, worker_id: str) -> Path:
        """Return the folder in which one agent keeps its identity, inventory and command journal."""
        return self.agents / worker_id

    def token_file(self, worker_id: str) -> Path:
        """Return where `gpumon worker add` writes a worker's token (mode 0600)."""
        return self.root / "tokens" / f"{worker_id}.token"
