"""Where the Redis is that several masters share, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gpumon.errors import SettingError
from gpumon.files import check_trusted_file, read_secret
from gpumon.settings import Settings, SocketIoSettings

FORM = "redis[s]://[USER@]HOST[:PORT][/NUMBER]"
DEFAULT_PORT = 6379
_SCHEMES = {"redis": False, "rediss": True}


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A Redis; its text shows no password."""

    host: str
    port: int
    database: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    cafile: Path | None

    def __str__(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.database}"


def queue_address(settings: Settings) -> QueueAddress | None:
    """Return where the shared Redis is, None for a master that shares its fleet with no other.

    Raises SettingError: for one that cannot be used, or without the broker and database that several masters need;
    SecretFileError: when the password cannot be read.
    """
    if settings.socketio.queue is None:
        return None
    missing = [
        name for name, url in (("broker.url", settings.broker.url), ("database.url", settings.database.url)) if not url
    ]
    if missing:
        raise SettingError(
            "socketio.queue is for several masters, which need one broker and one database: set "
            f"{' and '.join(missing)} too (mosquitto and PostgreSQL), or leave socketio.queue out"
        )
    return _parsed(settings.socketio)


def _parsed(settings: SocketIoSettings) -> QueueAddress:
    parts = urlsplit(settings.queue or "")
    number = parts.path.strip("/") or "0"
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        port = 0
    if parts.scheme not in _SCHEMES or not parts.hostname or not port or not number.isdecimal() or parts.query:
        raise SettingError(f"socketio.queue cannot be used: expected {FORM}")
    if parts.password is not None:  # which others see in the process list, and in logs
        raise SettingError(
            "socketio.queue holds a password: put it in a file, and name that in socketio.queue_password_file"
        )
    file, cafile = settings.queue_password_file, settings.queue_cafile
    password = read_secret(Path(file)) if file is not None else None
    if cafile is not None:
        check_trusted_file(Path(cafile))
    return QueueAddress(
        host=parts.hostname,
        port=port,
        database=int(number),
        tls=_SCHEMES[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=password,
        cafile=Path(cafile) if cafile is not None else None,
    )
