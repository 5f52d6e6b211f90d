"""What the owner of a machine decides about commands: as whom they run, how long and how much."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.command_conditions import CommandConditions, command_conditions
from agent.command_rules import command_environment
from agent.command_user import CommandUser, command_user, warn_of_root
from gpumon.errors import SettingError
from gpumon.files import write_secret
from gpumon.settings import AgentSettings, CommandSettings, Settings
from tests.agent.runtime.support import Observer, make_node, running
from tests.support import eventually

OTHER_USER = "nobody"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as another user")
mosquitto = pytest.mark.mosquitto


def _other_user() -> CommandUser:
    user = command_user(OTHER_USER)
    assert user is not None
    return user


def _as_other_user(environment: dict[str, str] | None = None) -> CommandConditions:
    user = _other_user()
    return CommandConditions(command_environment(environment or os.environ, user), user)


@pytest.mark.parametrize("name", ["no-such-user", "", "nobody\0", "0; rm"])
def test_a_user_whom_the_machine_does_not_know_is_told_at_start(name: str) -> None:
    with pytest.raises(SettingError, match=r"commands.user: this machine has no user"):
        command_conditions(CommandSettings(user=name))


def test_another_user_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(SettingError, match="only root can run commands as nobody"):
        command_user(OTHER_USER)


def test_that_commands_run_as_root_is_told_where_nobody_has_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    warn_of_root(Settings())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    warn_of_root(Settings(commands=CommandSettings(user="root")))
    warn_of_root(Settings(agent=AgentSettings(commands="none")))
    assert caplog.records == []
    warn_of_root(Settings())
    (record,) = caplog.records
    assert "commands from the page and MQTT run as root on this machine" in record.getMessage()
    assert "commands.user" in record.getMessage()


def test_the_agents_own_user_needs_nothing() -> None:
    assert command_user(pwd.getpwuid(os.geteuid()).pw_name) is None
    assert command_user(None) is None


@as_root
def test_a_user_whose_id_means_no_change_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.getpwnam(OTHER_USER)
    unchanged = pwd.struct_passwd((entry.pw_name, "x", 2**32 - 1, entry.pw_gid, "", "/", "/bin/sh"))  # setreuid(2)
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: unchanged)
    with pytest.raises(SettingError, match="does not run as user 4294967295"):
        command_user(OTHER_USER)


@as_root
def test_a_user_as_whom_nothing_can_be_started_is_told_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", not_permitted)
    with pytest.raises(SettingError, match=r"nothing can be started as nobody here .*SETUID"):
        command_user(OTHER_USER)


@as_root
@mosquitto
def test_a_command_runs_as_the_given_user_with_its_groups_and_none_of_the_agents(
    mosquitto_port: int, tmp_path: Path
) -> None:
    user = _other_user()
    with (
        running(make_node(mosquitto_port, tmp_path, conditions=_as_other_user())),
        Observer(mosquitto_port) as operator,
    ):
        result = operator.run("id -u; id -g; id -G; id -ru; id -rg", "who")
    groups = " ".join(str(group) for group in user.groups)
    assert result.output.split("\n") == [str(user.uid), str(user.gid), groups, str(user.uid), str(user.gid), ""]


@as_root
@mosquitto
def test_a_command_of_another_user_cannot_become_the_agents_user_again(mosquitto_port: int, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("python3 is not installed where every user may run it")
    with (
        running(make_node(mosquitto_port, tmp_path, conditions=_as_other_user())),
        Observer(mosquitto_port) as operator,
    ):
        result = operator.run(f"{python} -c 'import os; os.setresuid(0, 0, 0)'", "back")
        ids = operator.run("grep -E '^(Uid|Gid|CapEff|CapPrm|CapAmb):' /proc/self/status", "ids").output
    assert result.exit_code == 1
    assert "Operation not permitted" in result.output
    fields = {line.split()[0]: line.split()[1:] for line in ids.splitlines()}
    assert set(fields["Uid:"]) == {str(_other_user().uid)}
    assert set(fields["Gid:"]) == {str(_other_user().gid)}
    assert {int(fields[name][0], 16) for name in ("CapEff:", "CapPrm:", "CapAmb:")} == {0}


@as_root
def test_home_and_names_are_the_given_users_and_nothing_leads_into_the_agents_session() -> None:
    agents = {
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/zsh",
        "XDG_RUNTIME_DIR": "/run/user/0",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus",
        "MAIL": "/var/mail/root",
        "SUDO_USER": "lena",
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    entry = pwd.getpwnam(OTHER_USER)
    assert command_environment(agents, _other_user()) == {
        "HOME": entry.pw_dir,
        "USER": OTHER_USER,
        "LOGNAME": OTHER_USER,
        "SHELL": entry.pw_shell,
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "HTTPS_PROXY": "http://proxy:3128",
    }


@as_root
@mosquitto
def test_a_command_starts_in_the_home_of_its_user_or_where_that_cannot_be_entered_in_the_root(
    mosquitto_port: int, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    cases = [(str(home), str(home)), (str(tmp_path / "none"), "/"), ("relative", "/")]
    for number, (name, where) in enumerate(cases):
        environment = {**command_environment(os.environ, _other_user()), "HOME": name}
        conditions = CommandConditions(environment, _other_user())
        node = make_node(mosquitto_port, tmp_path, conditions=conditions)
        with running(node), Observer(mosquitto_port) as operator:
            assert operator.run("/bin/pwd; echo $HOME", f"where-{number}").output.split() == [where, name]


@as_root
@mosquitto
def test_a_command_of_another_user_cannot_read_the_agents_secrets(mosquitto_port: int, tmp_path: Path) -> None:
    secrets = {"token": tmp_path / "token", "journal": tmp_path / "agent" / "w1" / "commands.jsonl"}
    write_secret(secrets["token"], "t0ken")
    tmp_path.chmod(0o755)
    node = make_node(mosquitto_port, tmp_path, conditions=_as_other_user())
    with running(node), Observer(mosquitto_port) as operator:
        assert secrets["journal"].exists()
        for name in ("environ", "mem", "maps", "cwd/", "root/", "fd/"):
            result = operator.run(f"ls /proc/{os.getpid()}/{name} && cat /proc/{os.getpid()}/{name}", name.strip("/"))
            assert result.exit_code != 0, name
            assert "Permission denied" in result.output, name
        for name, path in secrets.items():
            result = operator.run(f"cat {path}", name)
            assert (result.exit_code, "Permission denied" in result.output) == (1, True), name
        assert operator.run(f"kill -9 {os.getpid()} 2>&1 || echo no", "kill").output.endswith("no\n")


@as_root
@mosquitto
def test_a_command_of_another_user_is_ended_by_a_cancellation_with_all_that_it_has_started(
    mosquitto_port: int, tmp_path: Path
) -> None:
    with (
        running(make_node(mosquitto_port, tmp_path, conditions=_as_other_user())),
        Observer(mosquitto_port) as operator,
    ):
        operator.send({"id": "long", "command": "(trap '' TERM; sleep 1000 & echo $!; wait) & wait"})
        pid = int(eventually(lambda: operator.outputs("long"))[0].data)
        operator.send({"id": "long", "cancel": True})
        assert operator.result_of("long").state == "cancelled"
        assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


@mosquitto
def test_a_command_holds_nothing_of_the_agents_open_and_has_a_usual_umask(mosquitto_port: int, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("secret")
    before = os.umask(0o077)
    try:
        with (
            (tmp_path / "open").open() as inherited,
            running(make_node(mosquitto_port, tmp_path)),
            Observer(mosquitto_port) as operator,
        ):
            os.set_inheritable(inherited.fileno(), True)
            result = operator.run("for each in /proc/self/fd/*; do readlink $each; done; umask; cat", "open")
    finally:
        os.umask(before)
    *opened, umask = result.output.splitlines()
    kinds = {name.partition(":")[0] for name in opened if not name.startswith(("/proc/", "/dev/pts/"))}
    assert kinds <= {"/dev/null", "pipe"}
    assert str(tmp_path / "open") not in opened
    assert umask == "0022"


@mosquitto
def test_a_command_that_asks_for_more_time_than_the_worker_allows_gets_that_and_is_told(
    mosquitto_port: int, tmp_path: Path
) -> None:
    conditions = CommandConditions(command_environment(), max_timeout_s=0.5)
    with running(make_node(mosquitto_port, tmp_path, conditions=conditions)), Observer(mosquitto_port) as operator:
        long = operator.run("sleep 1000", "long", timeout_s=3600)
        short = operator.run("sleep 1000", "short", timeout_s=0.2)
        within = operator.run("echo done", "within", timeout_s=3600)
    assert (long.state, long.exit_code) == ("timeout", None)
    assert (
        long.problem == "ended because it ran longer than 0.5 s, the most that this worker allows (it asked for 3600 s)"
    )
    assert short.problem == "ended because it ran longer than 0.2 s"
    assert (within.state, within.problem) == ("finished", None)


@mosquitto
def test_no_more_output_is_published_than_the_worker_allows(mosquitto_port: int, tmp_path: Path) -> None:
    conditions = CommandConditions(command_environment(), max_output_bytes=2048)
    with running(make_node(mosquitto_port, tmp_path, conditions=conditions)), Observer(mosquitto_port) as operator:
        result = operator.run("head -c 100000 /dev/zero | tr '\\0' x; printf end", "much")
        published = "".join(output.data for output in operator.outputs("much"))
    assert (result.truncated, result.stdout_bytes) == (True, 100_003)
    assert published == "x" * 2048
    assert result.output == "x" * 2045 + "end"


def test_the_settings_become_conditions() -> None:
    conditions = command_conditions(CommandSettings(max_timeout_s=5, max_output_bytes=4096), FURTHER="1")
    assert (conditions.max_timeout_s, conditions.max_output_bytes, conditions.user) == (5, 4096, None)
    assert conditions.environment["FURTHER"] == "1"
