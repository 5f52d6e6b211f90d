"""Who uses the command line, as the audit tells it."""

from __future__ import annotations

import os
import pwd

from master.audit import Actor


def this_user() -> Actor:
    """Return the operating system's user, whatever the environment says; by number where it has no name."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor(name, "cli")
