"""What is shown of a process that uses a GPU."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from agent.processes import ProcessDetails, ProcessSetting, ProcessTable, container_id, shown_command
from tests.support import eventually, stopping

ID = "3f" * 32


def process(
    proc: Path, pid: int, *argv: str, started: int = 100, cgroup: str = "0::/user.slice\n", uid: int = 0
) -> None:
    """Make a process's entry under /proc."""
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    fields = " ".join(["S", *["0"] * 18, str(started), "0"])
    (folder / "stat").write_text(f"{pid} (a b) c) {fields}\n")
    (folder / "cmdline").write_bytes(b"".join(part.encode() + b"\0" for part in argv))
    (folder / "comm").write_text("comm-name\n")
    (folder / "status").write_text(f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (folder / "cgroup").write_text(cgroup)


@pytest.mark.parametrize(
    ("argv", "script"),
    [
        (["/usr/bin/python3", "train.py", "--token", "s3cret"], "python3 train.py"),
        (["python", "-u", "-m", "torch.distributed.run", "--key=s3cret"], "python -m torch.distributed.run"),
        (["python", "-um", "train", "s3cret"], "python -m train"),
        (["python", "-mtrain", "s3cret"], "python -m train"),
        (["python3", "-X", "dev", "-Wignore", "--check-hash-based-pycs", "always", "a.py", "s3cret"], "python3 a.py"),
        (["python3", "-", "s3cret"], "python3 -"),
        (["python3"], "python3"),
        (["-bash"], "bash"),
        (["node", "--require=s3cret", "server.js"], "node"),
        (
            ["/opt/env/bin/python3.11", "/opt/env/bin/accelerate", "launch", "s3cret"],
            "python3.11 /opt/env/bin/accelerate",
        ),
        (["python3", "-c", "print('s3cret')"], "python3 -c"),
        (["python3", "-W", "ignore", "main.py", "s3cret"], "python3 main.py"),
        (["bash", "-c", "export KEY=s3cret; run"], "bash"),
        (["bash", "job.sh", "s3cret"], "bash job.sh"),
        (["java", "-Dkey=s3cret", "-jar", "app.jar", "s3cret"], "java -jar app.jar"),
        (["/opt/app/server", "--password=s3cret"], "server"),
        ([], None),
    ],
)
def test_program_and_script_are_shown_and_arguments_which_hold_secrets_are_not(
    argv: list[str], script: str | None
) -> None:
    assert shown_command(argv, "script") == script
    assert shown_command(argv, "none") is None


def test_everything_is_shown_where_the_owner_says_so() -> None:
    assert shown_command(["python", "a.py", "--lr", "0.1"], "full") == "python a.py --lr 0.1"


def test_a_long_command_line_is_cut_to_the_contracts_bound() -> None:
    assert len(shown_command(["python", "x" * 5000], "full") or "") == 1024
    assert len(shown_command(["python", "x" * 5000], "script") or "") == 1024


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", "3f3f3f3f3f3f"),
        (f"12:devices:/docker/{ID}\n11:cpu:/docker/{ID}\n", "3f3f3f3f3f3f"),
        (f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope\n", "3f3f3f3f3f3f"),
        (f"4:memory:/kubepods/burstable/pod0e1d/{ID}\n", "3f3f3f3f3f3f"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "3f3f3f3f3f3f"),
        (f"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}\n", "3f3f3f3f3f3f"),
        (f"0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope\n", "3f3f3f3f3f3f"),
        (f"0::/default/{ID}\n", "3f3f3f3f3f3f"),
        (f"0::/system.slice/docker-{'a' * 64}.scope/docker/{ID}\n", "3f3f3f3f3f3f"),
        ("1:name=systemd:/user.slice\n0::/\n", None),
        (f"0::/{ID}{ID}\n", None),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", None),
        ("", None),
    ],
)
def test_a_container_is_known_by_its_short_id(cgroup: str, container: str | None) -> None:
    assert container_id(cgroup) == container


@pytest.mark.parametrize(("setting", "command"), [("full", "python a.py x"), ("script", "python a.py"), ("none", None)])
def test_a_process_is_described_as_the_setting_says(
    tmp_path: Path, setting: ProcessSetting, command: str | None
) -> None:
    process(tmp_path, 42, "python", "a.py", "x", cgroup=f"0::/docker-{ID}.scope\n")
    details = ProcessTable(setting, tmp_path).describe(42)
    assert (details.user, details.name, details.command, details.container) == ("root", "python", command, ID[:12])


def test_a_program_that_has_set_its_own_title_shows_no_arguments(tmp_path: Path) -> None:
    process(tmp_path, 42, "ray::Worker --token s3cret", "", "", "")
    details = ProcessTable("script", tmp_path).describe(42)
    assert (details.name, details.command) == ("ray::Worker", "ray::Worker")


def test_a_process_without_a_command_line_is_named_as_the_kernel_does(tmp_path: Path) -> None:
    process(tmp_path, 42)
    details = ProcessTable("full", tmp_path).describe(42)
    assert (details.name, details.command) == ("comm-name", None)


def test_a_command_line_that_is_not_text_is_still_shown(tmp_path: Path) -> None:
    process(tmp_path, 42, "python", "a.py")
    (tmp_path / "42" / "cmdline").write_bytes(b"/bin/\xff\0")
    assert ProcessTable("full", tmp_path).describe(42).command == "/bin/\ufffd"


def test_a_process_that_this_user_may_not_look_at_has_what_can_be_seen(tmp_path: Path) -> None:
    process(tmp_path, 42, "python", "a.py")
    for file in ("cmdline", "cgroup"):
        (tmp_path / "42" / file).unlink()
    assert ProcessTable("script", tmp_path).describe(42) == ProcessDetails(user="root", name="comm-name")


def test_a_real_process_is_described_until_it_ends() -> None:
    table = ProcessTable("script")
    with stopping(subprocess.Popen([sys.executable, "-c", "input()", "s3cret"], stdin=subprocess.PIPE)) as real:
        eventually(lambda: Path(f"/proc/{real.pid}/cmdline").read_bytes())  # empty for a moment, as it starts
        details = table.describe(real.pid)
        assert details.user == pwd.getpwuid(os.geteuid()).pw_name
        assert details.name == Path(sys.executable).name
        assert details.command == f"{Path(sys.executable).name} -c"
    assert table.describe(real.pid) == ProcessDetails()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process of another user")
def test_another_users_process_is_shown_with_its_user() -> None:
    with stopping(subprocess.Popen(["sleep", "60"], user="nobody")) as real:
        eventually(lambda: Path(f"/proc/{real.pid}/cmdline").read_bytes())
        details = ProcessTable("full").describe(real.pid)
        assert (details.user, details.name, details.command) == ("nobody", "sleep", "sleep 60")


def test_what_is_known_of_processes_that_left_the_gpu_is_forgotten(tmp_path: Path) -> None:
    table = ProcessTable("script", tmp_path)
    for pid in (42, 43):
        process(tmp_path, pid, "old")
        table.describe(pid)
    table.forget_all_but([42])
    for pid in (42, 43):
        process(tmp_path, pid, "new")
    assert [table.describe(pid).name for pid in (42, 43)] == ["old", "new"]


def test_a_user_without_a_name_here_is_shown_by_number(tmp_path: Path) -> None:
    process(tmp_path, 42, "x", uid=123456)
    assert ProcessTable("script", tmp_path).describe(42).user == "123456"


def test_a_process_that_has_ended_is_nothing_known_of(tmp_path: Path) -> None:
    details = ProcessTable("script", tmp_path).describe(42)
    assert (details.user, details.name, details.command) == (None, None, None)


def test_a_pid_that_another_process_has_taken_is_described_anew(tmp_path: Path) -> None:
    table = ProcessTable("script", tmp_path)
    process(tmp_path, 42, "old")
    assert table.describe(42).name == "old"
    process(tmp_path, 42, "new")
    assert table.describe(42).name == "old"  # the same process: it was read once
    process(tmp_path, 42, "new", started=200)
    assert table.describe(42).name == "new"
