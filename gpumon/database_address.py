"""Where the database is, when it is not the data folder's file: reading `database.url`.

The password never stands in what is shown: `DatabaseAddress.url` is without it, and so is every error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from gpumon.errors import SettingError
from gpumon.files import read_secret
from gpumon.settings import DatabaseSettings

FORM = "postgresql://USER@HOST[:PORT]/DATABASE"

# As libpq reads it (PostgreSQL's documentation, 34.1.1.2); a special character within a part is percent-encoded.
_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?#]*)(?P<colon>:(?P<password>[^@/?#]*))?@)?"
    r"(?P<hosts>[^@/?#]*)/(?P<name>[^@/?#]+)(?P<query>\?[^#@]*)?"
)
# Wide rather than exact: what it finds is refused.
_PASSWORD = re.compile(r"//[^/?#]*:.*@|[?&](ssl)?password=", re.IGNORECASE | re.DOTALL)
_IN_QUERY = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A PostgreSQL database: `url` is what psql takes, without the password."""

    url: str
    name: str
    user: str | None = None
    hosts: str = ""
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    max_connections: int = 20

    def secret(self) -> str | None:
        """Return the password, read anew from its file; None where libpq finds it by itself, if one is wanted.

        Raises SecretFileError.
        """
        return self.password if self.password_file is None else read_secret(self.password_file)

    def __str__(self) -> str:
        return f"{self.name} at {self.hosts}" if self.hosts else f"{self.name} at this machine's PostgreSQL"


def database_address(settings: DatabaseSettings) -> DatabaseAddress | None:
    """Return where the settings say that the database is, None for the data folder's own.

    Raises SettingError: when `database.url` cannot be used; it does not show it, since a password may be in it.
    """
    if settings.url is None:
        if settings.password_file is not None:
            raise SettingError("database.password_file is given without database.url: give both, or neither")
        return None
    found = _URL.fullmatch(settings.url.strip())
    if found is None:
        raise SettingError(f"database.url cannot be used: {_what_is_wrong(settings.url)}")
    if _IN_QUERY & {key.lower() for key, _ in parse_qsl((found["query"] or "")[1:])}:
        raise SettingError("database.url cannot be used: give the password in a file, with database.password_file")
    if found["password"] and settings.password_file is not None:
        raise SettingError("database.url holds a password and database.password_file names one: take away the former")
    authority = f"{found['user']}@{found['hosts']}" if found["user"] else found["hosts"]
    return DatabaseAddress(
        url=f"postgresql://{authority}/{found['name']}{found['query'] or ''}",
        name=unquote(found["name"]),
        user=unquote(found["user"]) if found["user"] else None,
        hosts=unquote(found["hosts"]),
        password=unquote(found["password"]) if found["password"] else None,
        password_file=None if settings.password_file is None else Path(settings.password_file),
        max_connections=settings.max_connections,
    )


def may_hold_password(url: str) -> bool:
    """Tell whether a text meant as `database.url` could hold a password."""
    return _PASSWORD.search(url) is not None


def _what_is_wrong(url: str) -> str:
    scheme = url.strip().partition(":")[0].lower()
    if scheme.startswith("sqlite"):
        return "SQLite is what gpumon uses without it, in the data folder: leave database.url out"
    if scheme in ("postgresql", "postgres"):
        return f"expected {FORM}, special characters in a part percent-encoded (%40 for @)"
    return f"expected {FORM}"
