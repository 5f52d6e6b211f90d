"""The user as whom commands run: the setting `commands.user`, looked up and tried at start."""

from __future__ import annotations

import logging
import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from gpumon.errors import SettingError
from gpumon.settings import Settings

logger = logging.getLogger(__name__)

TRIAL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class CommandUser:
    """A user of this machine, with all its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    login_shell: str

    @property
    def variables(self) -> Mapping[str, str]:
        """What a log-in as this user sets (login(1))."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.login_shell}


def warn_of_root(settings: Settings) -> None:
    """Tell that commands run as root, where nobody has said that they should."""
    if os.geteuid() == 0 and settings.commands.user is None and settings.agent.commands != "none":
        logger.warning(
            "commands from the page and MQTT run as root on this machine: name another user with commands.user (root, "
            "if it is meant so), or run none with --no-commands"
        )


def command_user(name: str | None) -> CommandUser | None:
    """Return the user of this name; None where commands run as the agent's own user.

    Raises SettingError: for a user whom this machine does not know, or as whom this process cannot start anything.
    """
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError) as error:  # ValueError for a NUL
        raise SettingError(f"commands.user: this machine has no user {name!r}: see getent passwd") from error
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise SettingError(
            f"commands.user: only root can run commands as {name}: start the agent as root, or leave commands.user out"
        )
    user = CommandUser(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)),
        home=entry.pw_dir or "/",
        login_shell=entry.pw_shell or "/bin/sh",
    )
    _try(user)
    return user


def _try(user: CommandUser) -> None:
    """Start something as this user: in a container, root may not be allowed to."""
    try:
        finished = subprocess.run(
            ["/bin/sh", "-c", "id -u; id -g"],
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TRIAL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingError(
            f"commands.user: nothing can be started as {user.name} here ({error}): in a container, the agent needs the "
            "capabilities SETUID and SETGID"
        ) from error
    if finished.stdout.split() != [str(user.uid).encode(), str(user.gid).encode()]:
        raise SettingError(f"commands.user: what is started as {user.name} does not run as user {user.uid}: see id")
