"""Machines that join a running `gpumon up` over TLS with one line, and workers that are shut out again."""

from __future__ import annotations

import contextlib
import functools
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.joining import JoinRefusedError, ask_to_join
from agent.membership import Membership
from gpumon.cli.supervisor import gpumon_command
from gpumon.joining import parse_join_line
from gpumon.settings import Settings
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import CLEAN_ENVIRONMENT, Running, gpumon_up
from tests.support import eventually, free_port


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A `gpumon up` that serves other machines: MQTT over TLS, and the page plain, as behind a proxy."""
    folder = tmp_path_factory.mktemp("up")
    with gpumon_up(folder, "--host", "127.0.0.1", "--insecure-http", "--mqtts-port", str(free_port())) as running:
        yield running


@pytest.fixture(scope="module")
def page(fleet: Running) -> PageClient:
    return PageClient(fleet.page, "admin", fleet.admin_password)


def join_line(fleet: Running, *flags: str) -> str:
    """Return what `gpumon join-key` prints in another shell, which knows nothing of the flags of `gpumon up`."""
    made = fleet.gpumon("join-key", *flags)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return made.stdout


@dataclass(frozen=True, slots=True)
class Machine:
    """A new machine: a folder of its own, and nothing else."""

    folder: Path

    @property
    def token_file(self) -> Path:
        return self.folder / "token.txt"

    @property
    def log(self) -> Path:
        return self.folder / "agent.log"

    def said(self) -> str:
        return self.log.read_text()

    def words(self, worker_id: str, *flags: str) -> list[str]:
        fixed = ("--source", "simulated", "--interval", "0.5", "--data", str(self.folder / "data"))
        return gpumon_command("agent", "--worker-id", worker_id, "--token-file", str(self.token_file), *fixed, *flags)

    @contextlib.contextmanager
    def agent(self, worker_id: str, *flags: str, typed: str = "", **more: str) -> Iterator[subprocess.Popen[str]]:
        """Run its agent until the block ends."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.words(worker_id, *flags),
                env={**CLEAN_ENVIRONMENT, **more},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(typed)
            process.stdin.close()
        try:
            yield process
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def is_online(page: PageClient, worker_id: str) -> bool:
    return page.state(worker_id) == "online"


def in_process_list(secret: str) -> list[Path]:
    """Return the processes whose arguments hold the secret."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if secret.encode() in path.read_bytes():
                found.append(path)
    return found


def test_one_line_lets_a_machine_in_over_tls_and_its_secrets_are_nowhere(
    fleet: Running, page: PageClient, machine: Machine
) -> None:
    line = join_line(fleet)
    parsed = parse_join_line(line)
    assert parsed.address.tls
    assert parsed.ca is not None
    assert len(line) < 1024
    with machine.agent("gpu1", "--join", "-", typed=line) as process:
        eventually(lambda: is_online(page, "gpu1"), 20)
        token = machine.token_file.read_text().strip()
        assert stat.S_IMODE(machine.token_file.stat().st_mode) == 0o600
        for secret in (parsed.key, line.strip(), token):
            assert in_process_list(secret) == []
        kinds = eventually(lambda: [event["event"]["kind"] for event in page.get("workers/gpu1")["events"]])
        assert "joined" in kinds
        process.terminate()
        assert process.wait(15) == 0
    # From then on it needs neither the line nor an address.
    with machine.agent("gpu1"):
        eventually(lambda: is_online(page, "gpu1"), 20)
    kept = [path for folder in (fleet.data.root.parent, machine.folder) for path in folder.rglob("*") if path.is_file()]
    for path in kept:
        content = path.read_bytes()
        assert parsed.key.encode() not in content, path
        assert token.encode() not in content or path == machine.token_file, path


def test_an_answer_that_is_lost_is_given_again_to_who_asked_and_to_nobody_else(fleet: Running, tmp_path: Path) -> None:
    line = parse_join_line(join_line(fleet))
    wanted = Membership.by(line, Settings())
    cafile = tmp_path / "ca.crt"
    cafile.write_text(line.ca_pem or "")
    ask = functools.partial(ask_to_join, line, wanted, cafile, worker_id="gpu9", stop=threading.Event())
    first = ask(nonce="n" * 43)
    assert first is not None
    assert ask(nonce="n" * 43) == first  # over a new connection, with a key that is used up
    with pytest.raises(JoinRefusedError, match="used up"):
        ask(nonce="m" * 43)


def test_a_line_among_the_arguments_is_gone_from_the_process_list(
    fleet: Running, page: PageClient, machine: Machine
) -> None:
    line = join_line(fleet).strip()
    with machine.agent("gpu2", "--join", line):
        eventually(lambda: is_online(page, "gpu2"), 20)
        assert in_process_list(line) == []
    assert "is seen by others on this machine" in machine.said()
    assert parse_join_line(line).key not in machine.said()


def test_a_line_is_taken_from_a_file_and_from_the_environment(fleet: Running, page: PageClient, tmp_path: Path) -> None:
    line = join_line(fleet, "--uses", "2")
    file = tmp_path / "line"
    file.write_text(line)
    file.chmod(0o600)
    for number, (flags, more) in enumerate([(("--join", str(file)), {}), ((), {"GPUMON_JOIN": line})]):
        folder = tmp_path / str(number)
        folder.mkdir()
        worker_id = f"gpu3-{number}"
        with Machine(folder).agent(worker_id, *flags, **more):
            eventually(functools.partial(is_online, page, worker_id), 20)


def test_a_used_up_an_expired_and_a_revoked_key_let_nobody_in(fleet: Running, page: PageClient, tmp_path: Path) -> None:
    used, expired, revoked = join_line(fleet), join_line(fleet, "--expires", "1s"), join_line(fleet)
    expires_at = time.time() + 1.1
    newest = fleet.gpumon("join-key", "list").stdout.split("\t")[0]
    assert fleet.gpumon("join-key", "revoke", newest).returncode == 0
    first = Machine(tmp_path / "first")
    first.folder.mkdir()
    with first.agent("gpu4", "--join", "-", typed=used):
        eventually(lambda: is_online(page, "gpu4"), 20)
    eventually(lambda: time.time() > expires_at)
    for name, line in (("used", used), ("expired", expired), ("revoked", revoked)):
        machine = Machine(tmp_path / name)
        machine.folder.mkdir()
        with machine.agent(f"gpu4-{name}", "--join", "-", typed=line) as process:
            assert process.wait(20) == 3, machine.said()
        said = machine.said().strip().splitlines()[-2]
        assert said.startswith("gpumon: ")
        assert "join-key" in said
        assert not machine.token_file.exists()
        assert page.state(f"gpu4-{name}") is None


def test_a_taken_name_is_refused_until_an_admin_allows_it_and_then_the_old_one_is_cut_off(
    fleet: Running, page: PageClient, tmp_path: Path
) -> None:
    old, new = Machine(tmp_path / "old"), Machine(tmp_path / "new")
    old.folder.mkdir()
    new.folder.mkdir()
    with old.agent("gpu5", "--join", "-", typed=join_line(fleet)):
        eventually(lambda: is_online(page, "gpu5"), 20)
        with new.agent("gpu5", "--join", "-", typed=join_line(fleet)) as refused:
            assert refused.wait(20) == 3
        assert "gpu5 is taken" in new.said()
        assert is_online(page, "gpu5")
        replacing = join_line(fleet, "--worker-id", "gpu5", "--replace")
        with new.agent("gpu5", "--join", "-", typed=replacing):
            eventually(lambda: "gpumon join-key --worker-id gpu5 --replace" in old.said(), 20)
            eventually(lambda: is_online(page, "gpu5"), 20)


def test_a_removed_worker_is_cut_off_and_gone_from_the_page_until_it_joins_again(
    fleet: Running, page: PageClient, machine: Machine
) -> None:
    line = join_line(fleet, "--uses", "2")
    with machine.agent("gpu6", "--join", "-", typed=line):
        eventually(lambda: is_online(page, "gpu6"), 20)
        removed = fleet.gpumon("worker", "remove", "gpu6")
        assert removed.returncode == 0
        assert "gpumon join-key revoke k-" in removed.stderr  # it could join again with that
        eventually(lambda: page.state("gpu6") is None, 5, interval_s=0.1)
        eventually(lambda: "is not let in any more" in machine.said(), 20)
        assert page.state("gpu6") is None
    assert "gpu6" not in fleet.gpumon("worker", "list").stdout
    # Its token is refused; the line that it is started with again has a use left.
    with machine.agent("gpu6", "--join", "-", typed=line):
        eventually(lambda: is_online(page, "gpu6"), 60)
    assert "gpu6\tjoined" in fleet.gpumon("worker", "list").stdout


def test_a_rotated_token_cuts_off_and_is_taken_from_the_file_without_a_restart(
    fleet: Running, page: PageClient, machine: Machine
) -> None:
    with machine.agent("gpu7", "--join", "-", typed=join_line(fleet)):
        eventually(lambda: is_online(page, "gpu7"), 20)
        assert fleet.gpumon("worker", "rotate", "gpu7").returncode == 0
        eventually(lambda: "is not let in any more" in machine.said(), 20)
        rotated = fleet.data.token_file("gpu7").read_text()
        machine.token_file.write_text(rotated)
        eventually(lambda: is_online(page, "gpu7"), 60)


def test_joining_is_audited(fleet: Running, page: PageClient, machine: Machine) -> None:
    line = join_line(fleet, "--worker-id", "gpu8")
    with machine.agent("gpu8", "--join", "-", typed=line):
        eventually(lambda: is_online(page, "gpu8"), 20)
    fleet.gpumon("worker", "remove", "gpu8")
    shown = fleet.gpumon("audit").stdout
    rows = [row for row in shown.splitlines() if "gpu8" in row]
    for action in ("join_key.made", "worker.joined", "worker.removed"):
        assert any(action in row for row in rows), (action, rows)
    assert parse_join_line(line).key not in shown
