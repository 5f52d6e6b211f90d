"""systemd units of gpumon, as templates, and how they are filled in."""

from __future__ import annotations

import grp
import re
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent
Kind = Literal["master", "agent"]

MASTER_USER = "gpumon"
COMMAND_USER = "gpumon-run"
# Where systemd hides homes from a service, what is installed in one of them cannot be started.
_HOMES = ("/home/", "/root/", "/run/user/")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to be written: its file's name, its text, and the system users that it needs."""

    name: str
    text: str
    users: tuple[str, ...]


def master_unit(program: Path, flags: Sequence[str]) -> Unit:
    """Return the unit of a master."""
    return Unit("gpumon-master.service", _filled("gpumon-master", program, flags), (MASTER_USER,))


def agent_unit(program: Path, flags: Sequence[str], *, runs_commands: bool, devices: Path = Path("/dev")) -> Unit:
    """Return the unit of an agent, which is bound more tightly where it runs no commands."""
    if runs_commands:
        return Unit("gpumon-agent.service", _filled("gpumon-agent", program, flags), (COMMAND_USER,))
    text = _filled("gpumon-agent-watching", program, flags, groups=device_groups(devices))
    return Unit("gpumon-agent.service", text, (MASTER_USER,))


def device_groups(devices: Path = Path("/dev")) -> list[str]:
    """Return the groups that may open the GPUs, where not everybody may."""
    groups = set()
    for path in devices.glob("nvidia*"):
        status = path.stat()
        may_all, may_group = status.st_mode & stat.S_IWOTH, status.st_mode & stat.S_IWGRP
        if may_group and not may_all and status.st_gid != 0:
            groups.add(grp.getgrgid(status.st_gid).gr_name)
    return sorted(groups)


def _filled(name: str, program: Path, flags: Sequence[str], *, groups: Sequence[str] = ()) -> str:
    places = {
        "USER": MASTER_USER,
        "COMMAND_USER": COMMAND_USER,
        "PROGRAM": _quoted(str(program)),
        "FLAGS": "".join(f" {_quoted(flag)}" for flag in flags),
        "GROUPS": f"SupplementaryGroups={' '.join(groups)}" if groups else "# Everybody may open the GPUs here.",
        "PROTECT_HOME": "read-only" if str(program).startswith(_HOMES) else "yes",
    }
    template = (FOLDER / f"{name}.service").read_text()
    return re.sub(r"@([A-Z_]+)@", lambda found: places[found[1]], template)


def _quoted(word: str) -> str:
    """Return a word as systemd.service(5) reads it: quoted where it must be, `%` and `$` taken as they are."""
    quoted = shlex.quote(word)
    if quoted != word:
        quoted = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return quoted.replace("%", "%%").replace("$", "$$")
