"""Secrets of a whole running installation: in their own files, private whatever the umask, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from gpumon.cli.supervisor import gpumon_command
from gpumon.files import write_secret
from gpumon.joining import parse_join_line
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import Running, gpumon_up
from tests.support import eventually, free_port, stopping

PASSWORD = "lena-correct-horse-battery"
WRONG_PASSWORD = "lena-wrong-donkey-staple"
WRONG_TOKEN = "gpt_WrongWrongWrongWrongWrongWrongWrongWrongWro"


@dataclass
class Installation:
    """A `gpumon up` with everything that holds secrets, started with umask 0 at log level debug."""

    running: Running
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)  # error pages, and what subcommands say that should show no secret

    @property
    def logs(self) -> str:
        """What all processes have written to their standard output and error."""
        return "\n".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    def said(self, *arguments: str, text: str = "") -> str:
        """Run a subcommand, keep what it says, and return it."""
        finished = self.running.gpumon(*arguments, text=text)
        self.shown.append(finished.stdout + finished.stderr)
        return finished.stdout

    def asked(self, method: str, path: str, **request: object) -> requests.Response:
        """Ask the page for something, and keep the answer if it is an error."""
        answer = requests.request(method, f"{self.running.page}{path}", timeout=10, **request)  # type: ignore[arg-type]
        if answer.status_code >= 400:
            self.shown.append(f"{answer.headers}\n{answer.text}")
        return answer

    def agent(self, name: str, *flags: str, typed: str = "") -> subprocess.Popen[bytes]:
        """Start an agent, whose words are logged."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        where = ("--token-file", str(own / "token.txt"), "--data", str(own / "data"), "--source", "simulated")
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                gpumon_command("agent", "--worker-id", name, *where, "--interval", "0.5", *flags),
                env=self.running.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(typed.encode())
            process.stdin.close()
        process.stdin = None
        return process


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that everything has been done with: log-ins right and wrong, joining, commands, errors."""
    folder = tmp_path_factory.mktemp("secrets")
    before = os.umask(0)
    try:
        flags = ("--host", "127.0.0.1", "--insecure-http", "--mqtts-port", str(free_port()))
        with gpumon_up(folder, *flags, more={"GPUMON_LOG_LEVEL": "debug"}) as running:
            installation = Installation(running, folder)
            _make_accounts(installation)
            with _joined_agent(installation):
                _do_what_goes_wrong(installation)
                _run_commands(installation)
                os.umask(before)
                yield installation
    finally:
        os.umask(before)


def _make_accounts(it: Installation) -> None:
    data = it.running.data
    it.secrets["admin's first password"] = it.running.admin_password
    it.secrets["master.secret"] = data.master_secret.read_text().strip()
    it.secrets["session.secret"] = data.session_secret.read_text().strip()
    it.secrets["lena's password"] = PASSWORD
    assert "set" in it.said("user", "add", "lena", "--role", "operator", text=f"{PASSWORD}\n")
    made = it.running.gpumon("user", "token", "lena", "--label", "test")
    it.secrets["lena's API token"] = re.findall(r"gpt_[A-Za-z0-9_-]{43}", made.stdout)[0]
    it.said("worker", "add", "added")
    it.secrets["worker's token"] = data.token_file("added").read_text().strip()
    for name in ("ca.key", "server.pem"):
        key = (data.root / "tls" / name).read_text().partition("PRIVATE KEY-----\n")[2]
        it.secrets[f"key in {name}"] = key.splitlines()[0]
    with contextlib.closing(sqlite3.connect(f"file:{data.database}?mode=ro", uri=True)) as database:
        (password_hash,) = database.execute("SELECT password_hash FROM users WHERE name = 'lena'").fetchone()
        assert password_hash.startswith("$argon2id$")
        it.secrets["hash of lena's password"] = password_hash.rpartition("$")[2]


@contextlib.contextmanager
def _joined_agent(it: Installation) -> Iterator[None]:
    line = it.running.gpumon("join-key").stdout.strip()
    it.secrets["join line"], it.secrets["join key"] = line, parse_join_line(line).key
    page = PageClient(it.running.page, "admin", it.running.admin_password)
    with stopping(it.agent("joined", "--join", "-", typed=line)):
        eventually(lambda: page.state("joined") == "online", 30)
        it.secrets["joined worker's token"] = (it.folder / "joined" / "token.txt").read_text().strip()
        yield


def _do_what_goes_wrong(it: Installation) -> None:
    garbage = it.secrets["join line"][:-9] + "AAAAAAAAA"
    it.secrets["damaged join line"] = garbage
    assert it.agent("garbage", "--join", "-", typed=garbage).wait(30) != 0
    for name, password in (("lena", WRONG_PASSWORD), (WRONG_PASSWORD, "lena"), ("admin", it.secrets["join key"])):
        with pytest.raises(requests.HTTPError):
            PageClient(it.running.page, name, password)
    it.secrets["wrong password"] = WRONG_PASSWORD
    it.secrets["wrong token"] = WRONG_TOKEN
    for token in (WRONG_TOKEN, it.secrets["lena's API token"], it.secrets["worker's token"]):
        header = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        it.asked("GET", "/api/v1/workers", headers=header)
        it.asked("GET", "/api/v1/nothing-here", headers=header)
        it.asked("POST", "/api/v1/commands", headers=header, data="{")
        it.asked("DELETE", "/api/v1/users/lena", headers=header)
    it.asked("GET", f"/nothing/{WRONG_TOKEN[4:]}")
    it.asked("TRACE", "/login", headers={"Cookie": f"gpumon={WRONG_TOKEN}"})
    write_secret(it.folder / "wrong", WRONG_PASSWORD)
    by = ("--master", it.running.master_url, "--username", "lena", "--password-file", str(it.folder / "wrong"))
    it.said("run", *by, "-w", "joined", "--", "true")
    it.said("run", "--master", f"mqtt://lena:{PASSWORD}@127.0.0.1:x", "-w", "joined", "--", "true")
    refused = it.agent("refused", "--master", it.running.master_url, "--token-file", str(it.folder / "wrong"))
    with stopping(refused):
        eventually(lambda: "refused" in (it.folder / "refused.log").read_text(), 20)


def _run_commands(it: Installation) -> None:
    page = PageClient(it.running.page, "lena", PASSWORD)
    for command in ("env; cat /proc/$PPID/cmdline", "exit 3", "ls /nothing-here"):
        _finished(page, page.run("joined", command))
    it.said("audit")
    it.said("audit", "--json")
    it.said("user", "list")
    it.said("user", "tokens")
    it.said("worker", "list")
    it.said("join-key", "list")


def test_no_secret_is_logged_or_shown(used: Installation) -> None:
    logs = used.logs
    assert "DEBUG" in logs or "INFO" in logs
    for name, secret in used.secrets.items():
        assert secret not in logs, name
        assert not any(secret in text for text in used.shown), name


def test_no_secret_is_in_the_arguments_of_a_process(used: Installation) -> None:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found[path] = path.read_bytes()
    assert any(b"demo" in words or b"gpumon" in words for words in found.values())
    for name, secret in used.secrets.items():
        assert not [path for path, words in found.items() if secret.encode() in words], name


def test_each_secret_stands_in_its_own_file_alone_and_not_in_the_database(used: Installation) -> None:
    own = {
        "first-login": "admin's first password",
        "master.secret": "master.secret",
        "session.secret": "session.secret",
        "added.token": "worker's token",
        "token.txt": "joined worker's token",
        "wrong": "wrong password",
    }
    for path in _files(used):
        content = path.read_bytes()
        for name, secret in used.secrets.items():
            is_own = own.get(path.name) == name or name == f"key in {path.name}"
            is_hash = name.startswith("hash of") and path.name.startswith("gpumon.db")
            assert is_own or is_hash or secret.encode() not in content, f"{name} is in {path}"
    database = b"".join(path.read_bytes() for path in used.running.data.root.glob("gpumon.db*"))
    assert b"$argon2id$" in database


def test_everything_that_is_kept_is_private_though_the_umask_was_not(used: Installation) -> None:
    kept = used.running.data.root
    for root in (kept, used.folder / "joined" / "data"):
        for path in (root, *root.rglob("*")):
            mode = stat.S_IMODE(path.lstat().st_mode)
            is_public = path.suffix == ".crt"  # certificates are shown to everybody who connects
            assert is_public or not mode & 0o077, f"{path} has mode {mode:o}"
            assert not mode & 0o022, f"{path} has mode {mode:o}"
    assert stat.S_IMODE((used.folder / "joined" / "token.txt").stat().st_mode) == 0o600
    assert {path.name for path in kept.glob("gpumon.db*")} >= {"gpumon.db", "gpumon.db-wal"}


def test_commands_do_not_get_the_variables_of_the_agent(used: Installation) -> None:
    page = PageClient(used.running.page, "lena", PASSWORD)
    command_id = _finished(page, page.run("joined", "env"))
    output = page.get(f"commands/{command_id}/output?worker=joined")["output"]["joined"]
    text = "".join(chunk["data"] for chunk in output)
    assert "PATH=" in text
    assert "GPUMON_" not in text


@pytest.mark.parametrize("name", ["master.secret", "session.secret", "tls/ca.key", "tls/server.pem"])
def test_a_start_with_a_secret_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    flags = ("--host", "127.0.0.1", "--insecure-http", "--mqtts-port", str(free_port()))
    with gpumon_up(tmp_path, *flags) as running:
        path = running.data.root / name
        eventually(path.exists, 20)
    path.chmod(0o644)
    finished = running.gpumon("up", *flags, timeout_s=30)
    assert finished.returncode in (2, 3), finished.stderr
    assert f"chmod 600 {path}" in finished.stdout + finished.stderr


def test_a_file_with_a_secret_that_others_may_read_is_refused_by_every_flag(used: Installation) -> None:
    open_file = used.folder / "open"
    for content, *flags in (
        ("s3cret", "run", "-w", "joined", "--username", "lena", "--password-file", open_file),
        ("s3cret", "agent", "--worker-id", "w9", "--token-file", open_file),
        ("s3cret", "agent", "--worker-id", "w9", "--username", "lena", "--password-file", open_file),
        (
            used.secrets["join line"],
            "agent",
            "--worker-id",
            "w9",
            "--token-file",
            used.folder / "none",
            "--join",
            open_file,
        ),
    ):
        write_secret(open_file, content)
        open_file.chmod(0o644)
        words = [str(flag) for flag in flags]
        rest = ("--", "true") if words[0] == "run" else ("--data", str(used.folder / "w9"), "--source", "simulated")
        finished = used.running.gpumon(*words, "--master", used.running.master_url, *rest, timeout_s=30)
        assert finished.returncode == 2, (words, finished.stderr)
        assert f"chmod 600 {open_file}" in finished.stderr
        assert content not in finished.stderr


def _finished(page: PageClient, command_id: str) -> str:
    eventually(lambda: page.command(command_id)["targets"][0]["state"] == "finished", 20)
    return command_id


def _files(used: Installation) -> list[Path]:
    return [path for path in used.folder.rglob("*") if path.is_file() and path.suffix != ".log"]
