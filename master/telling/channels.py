"""A channel: where alerts are told, and of which; read from the settings and checked once, at the start."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gpumon.errors import SecretFileError, SettingError
from gpumon.files import read_secret
from gpumon.settings import ChannelSettings
from master.alerts.records import Alert, Severity

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.+-]*)://.")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
INSTALL_LINE = "pip install 'gpumon[notify]'"


@dataclass(frozen=True, slots=True)
class Channel:
    """A way by which people are told.

    `kind` is how it is shown: the scheme of Apprise's URL, or `webhook`. `url` and `secret` are secrets, and not in
    its repr. `gather_s`: how long the first alert waits for others, to be told in one message with them.
    """

    name: str
    kind: str
    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    severities: frozenset[Severity] = frozenset(Severity)
    labels: Mapping[str, str] = field(default_factory=dict)
    resolved: bool = True
    gather_s: float = 10.0

    @property
    def is_webhook(self) -> bool:
        """Whether JSON is posted, and not Apprise asked."""
        return self.kind == "webhook"

    def wants(self, alert: Alert) -> bool:
        """Tell whether it tells of an alert: by its severity and its worker's labels."""
        return alert.severity in self.severities and self.labels.items() <= alert.labels.items()


def read_channels(settings: Mapping[str, ChannelSettings]) -> list[Channel]:
    """Return the channels that the settings name.

    Raises SettingError: naming the channel, what is wrong and what to do, but never an address, which holds secrets.
    """
    return [_read(name, settings[name]) for name in settings]


def wrong(name: str, problem: str) -> SettingError:
    """Return what a channel of the settings that cannot be used is told."""
    return SettingError(f"gpumon.toml, [alerts.channels.{name}]: {problem}")


def _read(name: str, settings: ChannelSettings) -> Channel:
    if not _NAME.fullmatch(name):
        raise wrong(name, "a channel's name is 1 to 63 letters, digits, '-' and '_', beginning with a letter or digit")
    ways = [way for way in ("apprise", "apprise_file", "webhook") if getattr(settings, way) is not None]
    if len(ways) != 1:
        found = "none of them" if not ways else " and ".join(ways)
        raise wrong(name, f"it needs one of apprise, apprise_file and webhook, and has {found}")
    kind, url = _webhook(name, settings) if ways == ["webhook"] else _apprise(name, settings)
    return Channel(
        name=name,
        kind=kind,
        url=url,
        secret=_secret(name, "secret_file", settings.secret_file),
        severities=frozenset(Severity(severity) for severity in settings.severities) or frozenset(Severity),
        labels=settings.labels,
        resolved=settings.resolved,
        gather_s=settings.gather_s,
    )


def _apprise(name: str, settings: ChannelSettings) -> tuple[str, str]:
    if settings.secret_file is not None:
        raise wrong(name, "secret_file is for a webhook: Apprise's URL holds its secret itself")
    source = "apprise" if settings.apprise is not None else "apprise_file"
    url = settings.apprise if settings.apprise is not None else _secret(name, source, settings.apprise_file)
    match = _SCHEME.match(url or "")
    if url is None or match is None or any(character.isspace() for character in url):
        raise wrong(name, f"what {source} holds is no URL of Apprise, such as ntfy://HOST/TOPIC or mailto://...")
    if importlib.util.find_spec("apprise") is None:
        raise wrong(name, f"it is sent by Apprise, which is not installed: {INSTALL_LINE}")
    return match[1].lower(), url


def _webhook(name: str, settings: ChannelSettings) -> tuple[str, str]:
    url = settings.webhook or ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong(name, "what webhook holds is no URL, such as https://example.org/hook")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _THIS_MACHINE):
        raise wrong(name, f"webhook begins with {parts.scheme}://, use https:// (http:// on this machine alone)")
    if parts.username is not None or parts.password is not None:
        raise wrong(name, "webhook has a user or password before its host: sign with secret_file instead")
    return "webhook", url


def _secret(name: str, key: str, path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return read_secret(Path(path))
    except SecretFileError as error:
        raise wrong(name, f"{key}: {error}") from error
