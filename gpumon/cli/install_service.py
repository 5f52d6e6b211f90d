"""`gpumon install-service`: a master or an agent that systemd starts at boot, bound as tightly as it bears."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpumon.cli.pasted import line_from_standard_input
from gpumon.cli.service import Unit, agent_unit, master_unit
from gpumon.errors import SettingError, StartError
from gpumon.files import make_folder, read_secret, write_secret
from gpumon.joining import is_join_line, parse_join_line
from gpumon.settings import Settings

SETTINGS: tuple[str, ...] = ()
UNITS = Path("/etc/systemd/system")
AGENT_FOLDER = Path("/var/lib/gpumon-agent")
JOIN_FILE = AGENT_FOLDER / "join-line"


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Declare what to install."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    master = kinds.add_parser("master", help="the broker, the master and its page")
    agent = kinds.add_parser("agent", help="the agent of this GPU machine")
    agent.add_argument("--no-commands", action="store_true", help="run no commands here, and be bound more tightly")
    agent.add_argument("--join", metavar="LINE", help="a file with the join line, or - for standard input")
    for kind in (master, agent):
        kind.add_argument("--print", action="store_true", help="show the unit and change nothing")
        kind.add_argument("--remove", action="store_true", help="stop it and remove the unit; its data stays")
        kind.add_argument("flags", nargs="*", metavar="FLAG", help="further flags of gpumon up or agent, after --")
    return []


def run(arguments: argparse.Namespace, _settings: Settings) -> int:
    """Write the unit and start it, or show or remove it."""
    unit = _unit(arguments)
    if arguments.print:
        print(unit.text, end="")
        return 0
    if os.geteuid() != 0:
        raise StartError(f"a service is installed by root: sudo {' '.join(sys.argv)}; or see it with --print")
    if not Path("/run/systemd/system").exists():
        raise StartError("systemd does not run here: see the unit with --print, and take it where it does")
    if arguments.remove:
        _remove(unit)
        return 0
    _check_readable(_program())
    for user in unit.users:
        _ensure_user(user)
    if arguments.kind == "agent" and arguments.join:
        _keep_join_line(arguments.join, unit)
    (UNITS / unit.name).write_text(unit.text)
    for words in (["daemon-reload"], ["enable", unit.name], ["restart", unit.name]):
        _systemctl(*words)
    print(f"{UNITS / unit.name} is written and started: systemctl status {unit.name}, journalctl -u {unit.name}")
    print(_what_next(arguments.kind))
    return 0


def _unit(arguments: argparse.Namespace) -> Unit:
    flags = list(arguments.flags)
    if arguments.kind == "master":
        is_told = any(flag == "--host" or flag.startswith("--host=") for flag in flags)
        return master_unit(_program(), flags if is_told else ["--host", "0.0.0.0", *flags])  # noqa: S104  # nosec B104
    joining = ["--join", str(JOIN_FILE)] if arguments.join else []
    return agent_unit(_program(), [*joining, *flags], runs_commands=not arguments.no_commands)


def _program() -> Path:
    beside_python = str(Path(sys.executable).with_name("gpumon"))
    found = shutil.which(sys.argv[0]) or shutil.which(beside_python) or shutil.which("gpumon")
    if found is None:
        raise StartError("the program gpumon is not on PATH: install it with pip, or call it by its whole path")
    return Path(found).absolute()


def _check_readable(program: Path) -> None:
    """Refuse a program that another user than root cannot start. Raises StartError."""
    closed = next((folder for folder in program.resolve().parents if not folder.stat().st_mode & 0o001), None)
    if closed is not None:
        raise StartError(
            f"{program} is for its owner alone (see {closed}), and the service runs as another user: install gpumon "
            "elsewhere, for example into a virtual environment in /opt/gpumon"
        )


def _ensure_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/", "--shell", "/usr/sbin/nologin", name]
        ended = subprocess.run(command, check=False)
        if ended.returncode != 0:
            raise StartError(f"the user {name} could not be added: see above") from None


def _keep_join_line(given: str, unit: Unit) -> None:
    """Keep the line where the service reads it. Raises SettingError, SecretFileError: when it cannot be used."""
    if is_join_line(given):
        raise SettingError("--join with the line itself shows it to everybody on this machine: give a file, or -")
    text = line_from_standard_input() if given == "-" else read_secret(Path(given))
    parse_join_line(text)
    make_folder(AGENT_FOLDER)
    write_secret(JOIN_FILE, text.strip())
    owner = "root" if "User=root" in unit.text else unit.users[0]
    for path in (AGENT_FOLDER, JOIN_FILE):
        shutil.chown(path, owner)


def _remove(unit: Unit) -> None:
    path = UNITS / unit.name
    if not path.exists():
        raise StartError(f"{path} is not there: nothing to remove")
    _systemctl("disable", "--now", unit.name)
    path.unlink()
    _systemctl("daemon-reload")
    print(f"{path} is removed; its data stays in /var/lib")


def _systemctl(*words: str) -> None:
    if subprocess.run(["systemctl", *words], check=False).returncode != 0:
        raise StartError(f"systemctl {' '.join(words)} failed: see above")


def _what_next(kind: str) -> str:
    if kind == "master":
        return (
            "admin's first password is in /var/lib/gpumon/first-login; a line that joins a machine:  "
            "sudo -u gpumon gpumon join-key --data /var/lib/gpumon"
        )
    return (
        "if it has not joined: gpumon join-key on the master makes the line for gpumon install-service agent --join -, "
        f"or put its token into {AGENT_FOLDER}/token.txt"
    )
