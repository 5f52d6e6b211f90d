"""File descriptors: as many as the page needs, and out of the way of those who can use only low ones."""

from __future__ import annotations

import contextlib
import fcntl
import resource
import socket

# paho waits with select(2), which knows no descriptor above 1023: the page's many connections leave those to the MQTT
# link and to files.
FIRST = 1024
OF_OTHERS = 256
MOST = 65_536


def room_for_sockets() -> int:
    """Raise the soft limit of open files as far as this process may, and return how many sockets that leaves room for.

    Many systems start processes with a soft limit of 1,024 and a much higher hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    limit = MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)
    return max(limit - FIRST, 0) or max(limit - OF_OTHERS, 0)


def moved_up(connection: socket.socket) -> socket.socket:
    """Return the same socket under a high descriptor, where there is one; the given one is closed then."""
    try:
        number = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST)
    except OSError:  # the limit of open files is lower than that
        return connection
    moved = socket.socket(fileno=number)
    moved.settimeout(connection.gettimeout())
    connection.close()
    return moved
