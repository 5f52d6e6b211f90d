"""By which names and addresses other machines reach this one."""

from __future__ import annotations

import array
import contextlib
import fcntl
import functools
import ipaddress
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOOKUP_TIMEOUT_S = 1.0
MOST_ADDRESSES = 256
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")

# Linux: netdevice(7) gives the IPv4 addresses of all interfaces in one call, /proc/net/if_inet6 lists the IPv6 ones.
_SIOCGIFCONF = 0x8912
_IFREQ_BYTES = 40
_IF_INET6 = Path("/proc/net/if_inet6")
_IFA_F_TEMPORARY = 0x01


def machine_names() -> list[str]:
    """Return this machine's names and addresses, the fullest first; what no certificate can carry is left out."""
    found = [_full_name(), socket.gethostname().lower(), "localhost", "127.0.0.1", "::1", *machine_addresses()]
    return [name for name in dict.fromkeys(found) if is_address(name) or is_dns_name(name)]


def machine_addresses() -> list[str]:
    """Return the addresses of this machine's interfaces, without those that change daily or are for one link alone."""
    return [*_ipv4_addresses(), *_ipv6_addresses()]


def name_for_others() -> str:
    """Return what another machine most probably reaches this one by.

    That is its full name, where one is known that does not mean this machine alone; else the address that it sends
    from, since a bare host name is often known to nobody else; else the host name.
    """
    full = _full_name()
    if "." in full and any(not ipaddress.ip_address(address).is_loopback for address in _addresses_of(full)):
        return full
    return _sending_address() or socket.gethostname().lower()


def is_dns_name(name: str) -> bool:
    """Tell whether a certificate can carry this as a name (RFC 1123, and the underscores that are in use besides)."""
    return _DNS_NAME.match(name.lower()) is not None and not name.rpartition(".")[2].isdigit()


def is_address(name: str) -> bool:
    """Tell whether this is an IPv4 or IPv6 address, without a scope."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name


@functools.cache
def _full_name() -> str:
    return _in_time(socket.getfqdn, "").lower().rstrip(".")


@functools.cache
def _addresses_of(name: str) -> frozenset[str]:
    def look_up() -> frozenset[str]:
        with contextlib.suppress(OSError):
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
            return frozenset(address for address in found if is_address(address))
        return frozenset()

    return _in_time(look_up, frozenset())


def _in_time(look_up: Callable[[], T], default: T) -> T:
    """Return what DNS says, or the default where it says nothing in time: a resolver may take half a minute to fail."""
    answers: list[T] = []
    asking = threading.Thread(target=lambda: answers.append(look_up()), name="name-lookup", daemon=True)
    asking.start()
    asking.join(LOOKUP_TIMEOUT_S)
    return answers[0] if answers else default


def _sending_address() -> str | None:
    """Return the address of the interface with the default route; connecting a UDP socket sends nothing."""
    for family, elsewhere in ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            address = str(probe.getsockname()[0])
            if not ipaddress.ip_address(address).is_loopback:
                return address
    return None


def _ipv4_addresses() -> list[str]:
    room = array.array("B", bytes(MOST_ADDRESSES * _IFREQ_BYTES))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            answer = fcntl.ioctl(probe, _SIOCGIFCONF, struct.pack("iL", len(room), room.buffer_info()[0]))
    except OSError:
        return []
    filled = struct.unpack("iL", answer)[0]
    return [socket.inet_ntoa(bytes(room[start + 20 : start + 24])) for start in range(0, filled, _IFREQ_BYTES)]


def _ipv6_addresses() -> list[str]:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        digits, _, _, _, flags, _ = line.split()
        address = ipaddress.IPv6Address(int(digits, 16))
        if not address.is_link_local and not int(flags, 16) & _IFA_F_TEMPORARY:
            found.append(str(address))
    return found
