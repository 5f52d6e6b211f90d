"""The join line of a key, as the command line and the page hand it out."""

from __future__ import annotations

from pathlib import Path

from gpumon.cli.reach import Reach
from gpumon.errors import SettingError
from gpumon.joining import JoinLine, certificate_from_pem
from gpumon.settings import Settings
from master.foreign_roles import stranger_client_id, user_name
from master.join_keys import JoinKey
from master.principals import stranger


def check_can_join(settings: Settings) -> None:
    """Refuse to make keys for a broker that would not know them. Raises SettingError."""
    if settings.broker.url is not None and not settings.broker.dynamic_security:
        raise SettingError(
            f"the broker at {settings.broker.url} has accounts of its own, which no machine can join by itself: use "
            "gpumon worker add and add the same name there, or let gpumon keep mosquitto's accounts with "
            "broker.dynamic_security"
        )


def join_line(settings: Settings, reach: Reach, key: JoinKey | None, secret: str) -> str:
    """Return the line for this key; None tries whether there can be one. Raises SettingError: where there cannot."""
    ca = None if reach.cafile is None else certificate_from_pem(_read(Path(reach.cafile)), reach.cafile)
    if key is None or settings.broker.url is None:
        return JoinLine(reach.address, secret, ca, reach.base).encode()
    known_there = user_name(stranger(key.id)), stranger_client_id(key.id)
    return JoinLine(reach.address, secret, ca, reach.base, *known_there).encode()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise SettingError(
            f"the CA's certificate {path} cannot be read ({error.strerror}): start gpumon up --host first, which makes "
            "it, or name the one of your own authority with tls.ca"
        ) from error
